"""Search space files: ranges, conditions, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from slrtune.config.errors import ConfigError
from slrtune.config.overrides import Overrides
from slrtune.config.search_space import SearchSpace
from slrtune.config.search_space_checks import RandomSuggester
from slrtune.config.search_space_file import load_search_space

_EXPERIMENT = "data: {image_size: 64}\ntraining: {max_epochs: 20}\n"


def load(folder: Path, text: str, **overrides: object) -> SearchSpace:
    (folder / "experiment.yaml").write_text(_EXPERIMENT)
    path = folder / "space.yaml"
    path.write_text(text + "\nexperiment: experiment.yaml\n")
    return load_search_space(path, overrides=Overrides(overrides))


def mistakes_of(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_a_model_s_parameters_are_drawn_only_for_that_model(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        "parameters:\n"
        "  model.timesformer.depth: {low: 1, high: 4}\n"
        "  model.name: {choices: [cnn_transformer, timesformer]}\n",
    )
    draw = RandomSuggester(seed=1)
    seen = {
        (params["model.name"], "model.timesformer.depth" in params)
        for params in (space.suggest(draw) for _ in range(40))
    }
    assert seen == {("cnn_transformer", False), ("timesformer", True)}


def test_optuna_draws_what_the_ranges_say(tmp_path: Path) -> None:
    space = load(
        tmp_path,
        "parameters:\n"
        "  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
        "  training.batch_size: {low: 8, high: 32, step: 8}\n"
        "  training.warmup_epochs: {low: 0.0, high: 2.0, step: 0.5, "
        "when: {training.batch_size: [8, 16]}}\n",
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        params = space.suggest(study.ask())
        assert 1e-4 <= params["training.learning_rate"] <= 1e-2
        assert params["training.batch_size"] in (8, 16, 24, 32)
        assert ("training.warmup_epochs" in params) == (params["training.batch_size"] <= 16)
        experiment = space.experiment(params)
        assert experiment.training.batch_size == params["training.batch_size"]
        assert experiment.data.image_size == 64


def test_mistakes_of_space_and_experiment_come_together(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("training:\n  epochs: 3\n")
    path = tmp_path / "space.yaml"
    path.write_text(
        "parameters:\n"
        "  training.learning_rate: {low: 1e-2, high: 1e-4}\n"
        "  training.depth: {low: 1, high: 4}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_search_space(path, tmp_path / "other.yaml")
    places = [str(m).removeprefix(f"{tmp_path}/").split(" ")[0] for m in caught.value.mistakes]
    assert places == ["other.yaml:2:", "space.yaml:2:", "space.yaml:3:"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("parameters: {training.seed: {choices: []}}", "must have a list of choices"),
        ("parameters: {training.seed: {choices: [1, 1]}}", "lists a choice twice"),
        ("parameters: {training.seed: {choices: [1], low: 1}}", "keep one of the two kinds"),
        ("parameters: {training.seed: {low: 1}}", "must have the numbers low and high"),
        ("parameters: {training.weight_decay: {low: 0, high: 1, log: true}}", "low > 0"),
        ("parameters: {training.seed: {low: 1, high: 5, by: 2}}", "unknown field 'by'"),
        ("parameters: {training.seed: {low: -5, high: 5}}", "greater than or equal to 0"),
        ("parameters: {model.timesformer.depth: {low: 1, high: 2}}", "is never drawn"),
        ("parameters: {model.cnn_transformer.num_heads: {choices: [8, 6]}}", "must divide"),
        ("parameters: {training.seed: {low: 1, high: 5}}\nparams: 1", "params is not a known key"),
        (
            "parameters: {training.seed: {low: 1, high: 5}}\npoints: [{training.seed: 9}]",
            "must be a whole number between 1 and 5",
        ),
        (
            "parameters:\n  training.seed: {low: 1, high: 2, when: {training.max_epochs: 3}}\n"
            "  training.max_epochs: {low: 3, high: 4, when: {training.seed: 1}}\n",
            "depends on itself",
        ),
        ("points: []", "must list the searched keys"),
        ("parameters: {training.seed: {low: 1, high: 5, step: 0.5}}", "must have a whole step"),
        ("parameters: {training.seed: {choices: [1], when: {1: 2}}}", "has a condition on 1"),
        (
            "parameters: {model.timesformer.depth: {low: 1, high: 2}}",
            "model.name must be timesformer, but is cnn_transformer",
        ),
        (
            "parameters:\n  model.name: {choices: [cnn_transformer]}\n"
            "  model.timesformer.depth: {low: 1, high: 2}\n",
            "model.name must be timesformer, but is one of ['cnn_transformer']",
        ),
        ("data: {image_size: 64}\n", "is an experiment, not a search space"),
        (
            "parameters:\n  model.name: {choices: [cnn_transformer, dense_vit]}\n",
            "must name models of one task, but dense_vit and the experiment's cnn_transformer",
        ),
    ],
)
def test_a_bad_range_is_told_with_its_rule(tmp_path: Path, text: str, rule: str) -> None:
    assert any(rule in mistake for mistake in mistakes_of(tmp_path, text))


def test_an_overridden_key_is_no_longer_searched(tmp_path: Path) -> None:
    text = (
        "parameters:\n  training.seed: {low: 1, high: 5}\n"
        "  training.weight_decay: {low: 0.0, high: 1.0}\n"
    )
    space = load(tmp_path, text, **{"training.seed": 3})
    assert [parameter.key for parameter in space.parameters] == ["training.weight_decay"]
    assert space.base.training.seed == 3


@pytest.mark.parametrize("path", sorted(Path("search_spaces").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_search_spaces_have_no_mistakes(path: Path, tmp_path: Path) -> None:
    annotations = tmp_path / "nslt_100.json"
    annotations.write_text("{}")
    overrides = {"data.root": str(tmp_path), "data.annotations": str(annotations)}
    is_embedded = path.stem.startswith("fingerspelling")
    assert load_search_space(path, overrides=Overrides({} if is_embedded else overrides)).parameters


@pytest.mark.parametrize(
    "key",
    [
        "sweep.max_trials", "resources.workers_per_trial", "runs_dir", "name", "data.source",
        "data.root", "data.val_split", "data.split_seed",
    ],
)  # fmt: skip
def test_a_key_that_makes_trials_incomparable_cannot_be_searched(tmp_path: Path, key: str) -> None:
    found = mistakes_of(tmp_path, f"parameters: {{{key}: {{choices: [1, 2]}}}}")
    assert len(found) == 1
    assert f"{key} cannot be searched" in found[0]


def test_what_a_model_sees_of_a_clip_can_be_searched(tmp_path: Path) -> None:
    text = (
        "parameters:\n  data.num_frames: {choices: [8, 16]}\n"
        "  data.augmentation.rotation_degrees: {low: 0, high: 20}\n"
    )
    assert len(load(tmp_path, text).parameters) == 2


@pytest.mark.parametrize(
    ("spec", "longest"),
    [("{low: 5, high: 30}", 30), ("{choices: [60, 10]}", 60), (None, 20)],
)
def test_the_longest_trial_is_known_before_any_is_drawn(
    tmp_path: Path, spec: str | None, longest: int
) -> None:
    searched = f"training.max_epochs: {spec}" if spec else "training.seed: {low: 1, high: 5}"
    assert load(tmp_path, f"parameters: {{{searched}}}").max_epochs == longest


def test_an_overridden_key_leaves_the_points_too(tmp_path: Path) -> None:
    text = (
        "parameters: {training.seed: {low: 1, high: 5}, training.batch_size: {choices: [8, 16]}}\n"
        "points: [{training.seed: 2, training.batch_size: 8}, {training.seed: 3}]\n"
    )
    assert load(tmp_path, text, **{"training.seed": 9}).points == ({"training.batch_size": 8},)


@pytest.mark.parametrize(
    "overrides", [{"model.name": "timesformer"}, {"model": {"name": "timesformer"}}]
)
def test_an_overridden_model_drops_the_other_model_s_parameters(
    overrides: dict[str, object],
) -> None:
    space = load_search_space(
        Path("search_spaces/fingerspelling.yaml"), overrides=Overrides(overrides)
    )
    assert space.base.model.name == "timesformer"
    assert [p.key for p in space.parameters if "cnn" in p.key or "encoder" in p.key] == []
    assert len(space.parameters) == 4
    assert [sorted(point) for point in space.points] == [
        ["training.batch_size", "training.learning_rate"]
    ] * 2


def test_overrides_that_leave_nothing_to_search_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="leaves nothing to search"):
        load(tmp_path, "parameters: {training.seed: {low: 1, high: 5}}", **{"training.seed": 3})


@pytest.mark.parametrize(
    ("point", "rule"),
    [
        ("{training.batch_size: 2.5}", "must be a whole number between 1 and 9 in steps of 4"),
        ("{training.batch_size: true}", "must be a whole number between 1 and 9"),
        ("{training.batch_size: 2}", "in steps of 4"),
        ("{training.weight_decay: 0.15}", "must be between 0 and 0.3 in steps of 0.1"),
        ("{training.seed: true}", "must be one of [1, 2]"),
        ("{data.image_size: 64}", "is not among the parameters"),
        ("{model.name: timesformer, model.cnn_transformer.depth: 2}", "is not drawn in this point"),
        ("{1: 2}", "1 is not among the parameters"),
    ],
)
def test_a_point_outside_the_space_is_told_at_its_line(
    tmp_path: Path, point: str, rule: str
) -> None:
    text = (
        "parameters:\n  training.batch_size: {low: 1, high: 9, step: 4}\n"
        "  training.weight_decay: {low: 0.0, high: 0.3, step: 0.1}\n"
        "  training.seed: {choices: [1, 2]}\n"
        "  model.name: {choices: [cnn_transformer, timesformer]}\n"
        "  model.cnn_transformer.depth: {low: 1, high: 3}\npoints:\n"
        "  - {training.weight_decay: 0.3, training.batch_size: 5}\n"
    )
    found = mistakes_of(tmp_path, f"{text}  - {point}\n")
    assert len(found) == 1
    assert found[0].startswith("space.yaml:9: ")
    assert rule in found[0]


def test_a_point_s_values_must_go_together(tmp_path: Path) -> None:
    # One of 100000 draws breaks the rule: random draws alone would miss it.
    text = (
        "parameters:\n  training.max_epochs: {low: 1, high: 100000}\n"
        "  training.warmup_epochs: {low: 0.0, high: 1.5, log: false}\n"
        "points:\n  - {training.max_epochs: 1, training.warmup_epochs: 1.5}\n"
    )
    found = mistakes_of(tmp_path, text)
    assert [m.split(" must")[0] for m in found] == ["space.yaml:5: training.warmup_epochs"]


_BOUNDED = (
    "parameters:\n"
    "  training.encoder_learning_rate: {low: 1e-5, high: training.learning_rate, log: true}\n"
    "  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}\n"
    "  training.max_epochs: {low: 10, high: 40, step: 5}\n"
    "  training.patience: {low: 2, high: training.max_epochs, step: 4}\n"
)


def test_a_bound_can_be_the_value_of_another_key(tmp_path: Path) -> None:
    space = load(tmp_path, _BOUNDED)
    draw = RandomSuggester(seed=2)
    drawn = [space.suggest(draw) for _ in range(300)]
    rates = [(p["training.encoder_learning_rate"], p["training.learning_rate"]) for p in drawn]
    assert all(low <= high for low, high in rates)
    assert any(low == high for low, high in rates)
    assert any(low < high for low, high in rates)
    for params in drawn:
        patience, epochs = params["training.patience"], params["training.max_epochs"]
        assert isinstance(patience, int)
        assert patience <= epochs
        assert (patience - 2) % 4 == 0


def test_a_bound_follows_a_key_that_is_not_searched(tmp_path: Path) -> None:
    space = load(tmp_path, _BOUNDED, **{"training.max_epochs": 11})
    draw = RandomSuggester(seed=2)
    assert {space.suggest(draw)["training.patience"] for _ in range(60)} == {2, 6, 10}


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("training.patience: {low: 1, high: training.epochs}", "did you mean training.max_epochs"),
        ("training.patience: {low: 1, high: training.patience}", "cannot be its own bound"),
        ("training.patience: {low: 1, high: model.name}", "which is 'cnn_transformer' and no"),
        ("training.patience: {low: 1, high: training.encoder_learning_rate}", "which is None"),
        ("training.patience: {low: 30, high: training.max_epochs}", "low < high in every"),
        ("training.learning_rate: {low: data.val_fraction, high: 1.0, log: true}", "low > 0"),
    ],
)
def test_a_bad_bound_is_told_at_its_line(tmp_path: Path, spec: str, rule: str) -> None:
    found = mistakes_of(tmp_path, f"parameters:\n  {spec}\n")
    assert len(found) == 1, found
    assert found[0].startswith("space.yaml:2: training.")
    assert rule in found[0]


@pytest.mark.parametrize(
    ("point", "rule"),
    [
        ("{training.patience: 6}", "is bounded by training.max_epochs, which this point lacks"),
        ("{training.patience: 18, training.max_epochs: 15}", "here 14, but is 18"),
    ],
)
def test_a_point_keeps_to_its_own_bounds(tmp_path: Path, point: str, rule: str) -> None:
    found = mistakes_of(tmp_path, f"{_BOUNDED}points:\n  - {point}\n")
    assert [rule in mistake for mistake in found] == [True], found
