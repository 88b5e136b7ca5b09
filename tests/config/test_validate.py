"""Experiment files: every mistake at once, each at its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.config.errors import ConfigError, UserError
from slrtune.config.experiment import Experiment
from slrtune.config.overrides import read_overrides
from slrtune.config.validate import known_keys, load_experiment, suggestion, validate


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def mistakes_of(path: Path, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_experiment(path, read_overrides(list(overrides)))
    return [str(mistake).removeprefix(f"{path.parent}/") for mistake in caught.value.mistakes]


def test_three_mistakes_are_reported_together_with_file_and_line(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "training:\n  max_epochs: 5\n  learning_rte: 1e-3\n  batch_size: many\n"
        "sweep:\n  asha: {grace_epochs: 8}\n",
    )
    assert mistakes_of(path) == [
        "experiment.yaml:3: training.learning_rte is not a known key; "
        "did you mean training.learning_rate?",
        "experiment.yaml:4: training.batch_size must be a valid integer, unable to parse string "
        "as an integer, but is 'many'",
        "experiment.yaml:6: sweep.asha.grace_epochs must be <= training.max_epochs, but 8 > 5; "
        "lower it",
    ]


def test_a_sampler_for_one_objective_is_refused_for_two(tmp_path: Path) -> None:
    path = write(tmp_path, "sweep:\n  objective: pareto\n  sampler: gp\n")
    assert mistakes_of(path) == [
        "experiment.yaml:3: sweep.sampler must be tpe, random, grid or auto with the objective "
        "pareto, but is gp; set it to auto"
    ]


def test_a_rule_between_keys_is_not_judged_on_a_wrong_key(tmp_path: Path) -> None:
    path = write(tmp_path, "training: {max_epochs: none}\nsweep: {asha: {grace_epochs: 90}}\n")
    assert [m.split(" ")[1] for m in mistakes_of(path)] == ["training.max_epochs"]


def test_a_key_that_stands_twice_is_a_mistake(tmp_path: Path) -> None:
    path = write(tmp_path, "training:\n  seed: 1\n  seed: 2\n")
    assert mistakes_of(path) == [
        "experiment.yaml:3: training.seed stands twice in this file; keep one"
    ]


def test_scientific_notation_without_a_point_is_a_number(tmp_path: Path) -> None:
    assert load_experiment(write(tmp_path, "training: {learning_rate: 2e-4}")).training == (
        Experiment().training.model_copy(update={"learning_rate": 2e-4})
    )


def test_an_override_wins_and_its_mistake_names_the_option(tmp_path: Path) -> None:
    path = write(tmp_path, "training: {max_epochs: 50}\n")
    overridden = load_experiment(path, read_overrides(["training.max_epochs=7"]))
    assert overridden.training.max_epochs == 7
    assert mistakes_of(path, "data.source=tape") == [
        "--set: data.source must be 'fingerspelling', 'fingerspelling_words', 'auto', "
        "'class_folders', 'csv', 'wlasl', 'msasl', 'asl_citizen', 'phoenix', 'how2sign', "
        "'isltranslate', 'headerless' or 'manifest', but is 'tape'"
    ]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [1,\n", "is not valid YAML"),
        ("- 1\n- 2\n", "must hold `key: value` lines"),
        ("data: 3\n", "must be a section of `key: value` lines"),
        ("training: {learning_rate: .nan}\n", "must be a finite number"),
        ("data: {source: class_folders}\n", "data.root must be given"),
        ("data: {source: class_folders, root: nowhere}\n", "there is no nowhere"),
        ("data: {source: msasl, root: .}\n", "data.annotations must be given"),
        ("data: {source: wlasl, root: ., annotations: a.json}\n", "there is no a.json"),
        ("data: {source: class_folders, root: ., annotations: .}\n", "set data.source to auto"),
        ("data: {split_by: signer}\n", "data.val_fraction must be > 0"),
        ("data: {test_fraction: 0.1}\n", "set data.split_by to signer or stratified"),
        ("data: {split_by: signer, val_fraction: 0.6, test_fraction: 0.4}\n", "leave clips"),
        ("data: {val_split: train}\n", "must differ from data.train_split"),
        ("training: {batch_size: 9, micro_batch_size: 2}\n", "must divide training.batch_size"),
        ("model: {cnn_transformer: {num_heads: 7}}\n", "512 / 7 leaves a remainder"),
        ("1: 2\n", "experiment.yaml:1: 1 is not a known key"),
        ("null: 2\n", "experiment.yaml:1: null is not a known key"),
        ("training:\n  1: 2\n", "experiment.yaml:2: training.1 is not a known key"),
        ("a: &a {b: *a}\n", "experiment.yaml:1: is not valid YAML: an anchor must not contain"),
        ("[" * 3000, "nested too deeply"),
        ("name: 2020-99-99\n", "is not valid YAML"),
        ("parameters: {training.seed: {low: 1, high: 2}}\n", "is a search space"),
        ("model: {name: timesformer}\ndata: {image_size: 100}\n", "100 / 16 leaves a remainder"),
        ("training: {mixup_alpha: 0.2, micro_batch_size: 1}\n", "mixup_alpha must be 0 with micro"),
        ("training: {cutmix_alpha: 1.0, batch_size: 1}\n", "cutmix_alpha must be 0 with micro"),
        ("training: {cache_features: true, freeze_epochs: 49}\n", "49 < training.max_epochs 50"),
        (
            "training: {cache_features: true, freeze_epochs: 50, cutmix_alpha: 1.0}\n",
            "features have no boxes",
        ),
        (
            "model: {name: timesformer}\ntraining: {cache_features: true, freeze_epochs: 50}\n",
            "needs a model that sees each frame alone, but timesformer does not",
        ),
    ],
)
def test_bad_input_gets_one_message_with_its_rule(tmp_path: Path, text: str, rule: str) -> None:
    found = mistakes_of(write(tmp_path, text))
    assert len(found) == 1
    assert rule in found[0]


def test_mistakes_of_pairs_and_of_their_values_come_together(tmp_path: Path) -> None:
    found = mistakes_of(write(tmp_path, ""), "a", "model=5", "name=2020-99-99", "training={1: 2}")
    assert [m.split(" ")[1] for m in found] == ["a", "model", "name", "training.1"]


def test_an_override_of_one_alias_leaves_the_other(tmp_path: Path) -> None:
    path = write(
        tmp_path, "model:\n  cnn_transformer: &shared {depth: 3}\n  timesformer: *shared\n"
    )
    model = load_experiment(path, read_overrides(["model.timesformer.depth=5"])).model
    assert (model.cnn_transformer.depth, model.timesformer.depth) == (3, 5)


def test_paths_are_the_same_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home" / "clips").mkdir(parents=True)
    path = write(tmp_path, "data: {source: class_folders, root: ~/clips, cache_dir: cache}\n")
    experiment = load_experiment(path)
    assert experiment.data.root == tmp_path / "home" / "clips"
    assert experiment.data.cache_dir == tmp_path / "cache"
    assert experiment.data.annotations == ()
    assert experiment.runs_dir == tmp_path / "runs"


def test_a_home_of_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the home of a user that there is not"):
        load_experiment(write(tmp_path, "data: {cache_dir: ~nobody-here/x}\n"))


def test_a_missing_file_is_said_so(tmp_path: Path) -> None:
    assert "no such file" in mistakes_of(tmp_path / "absent.yaml")[0]


def test_every_key_has_a_docstring_that_config_prints() -> None:
    for key in known_keys():
        settings: object = Experiment()
        *parents, name = key.split(".")
        for parent in parents:
            settings = getattr(settings, parent)
        assert type(settings).model_fields[name].description, key  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("training.lr", "training.learning_rate"),
        ("training.epochs", "training.max_epochs"),
        ("training.learning_rte", "training.learning_rate"),
        ("training.num_frames", "data.num_frames"),
        ("model.nam", "model.name"),
    ],
)
def test_an_unknown_key_is_answered_with_the_one_that_was_meant(key: str, meant: str) -> None:
    assert suggestion(key).startswith(f"; did you mean {meant}")


@pytest.mark.parametrize("value", ["true", "false", "selective"])
def test_activation_checkpointing_is_a_switch_with_a_middle_way(tmp_path: Path, value: str) -> None:
    path = write(tmp_path, f"model: {{timesformer: {{activation_checkpointing: {value}}}}}\n")
    expected = {"true": True, "false": False}.get(value, value)
    assert load_experiment(path).model.timesformer.activation_checkpointing == expected


def test_a_convolution_over_time_needs_a_middle_frame(tmp_path: Path) -> None:
    path = write(tmp_path, "model: {cnn_transformer: {temporal_conv_kernel_size: 4}}\n")
    assert mistakes_of(path) == [
        "experiment.yaml:1: model.cnn_transformer.temporal_conv_kernel_size must be odd, but is 4; "
        "a convolution needs a frame in its middle"
    ]


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("training", "mixup_alpha", 0.2), ("resources", "gpu_packing", "auto")],
)
def test_an_automatic_micro_batch_refuses_what_would_depend_on_the_gpu(
    section: str, key: str, value: object
) -> None:
    raw: dict[str, dict[str, object]] = {"training": {"micro_batch_size": "auto"}}
    assert validate(raw, lambda _: ("x.yaml", 0))[1] == []
    raw.setdefault(section, {})[key] = value
    (mistake,) = validate(raw, lambda _: ("x.yaml", 0))[1]
    assert mistake.key == f"{section}.{key}" and "auto" in mistake.message
