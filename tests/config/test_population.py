"""What population based training asks of a configuration: every mistake at once, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from slrtune.config.errors import ConfigError
from slrtune.config.overrides import Overrides
from slrtune.config.population import can_change, population_text
from slrtune.config.search_space import SearchSpace
from slrtune.config.search_space_file import load_search_space
from slrtune.config.sweep import PBTConfig
from slrtune.config.validate import known_keys

_EXPERIMENT = "training: {max_epochs: 20}\nsweep:\n  scheduler: pbt\n  max_trials: 8\n"
_RATE = "  training.learning_rate: {low: 1e-4, high: 1e-2}\n"


def load(folder: Path, parameters: str, experiment: str = "", **overrides: object) -> SearchSpace:
    (folder / "experiment.yaml").write_text(_EXPERIMENT + experiment)
    path = folder / "space.yaml"
    path.write_text(f"experiment: experiment.yaml\nparameters:\n{parameters}")
    return load_search_space(path, overrides=Overrides(overrides))


def mistakes_of(folder: Path, parameters: str, experiment: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, parameters, experiment)
    return [str(mistake).removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


def test_a_space_without_anything_that_can_change_is_refused_with_all_else(tmp_path: Path) -> None:
    parameters = "  training.batch_size: {choices: [8, 16]}\n"
    parameters += "  training.max_epochs: {choices: [10, 20]}\n"
    found = mistakes_of(tmp_path, parameters)
    assert len(found) == 2
    assert found[0].startswith("space.yaml:2: one parameter at least must be able to change")
    assert found[1].startswith("space.yaml:4: training.max_epochs must not be searched")


def test_what_does_not_go_with_a_population_is_said_at_once(tmp_path: Path) -> None:
    more = "  sampler: gp\n  objective: pareto\n  max_gpu_hours: 3\n"
    more += "  pbt: {perturb_every_epochs: 20}\n"
    found = mistakes_of(tmp_path, _RATE, more)
    keys = {line.split()[1]: line.split(":")[1] for line in found}
    assert keys == {
        "sweep.sampler": "5",
        "sweep.objective": "6",
        "sweep.max_gpu_hours": "7",
        "sweep.pbt.perturb_every_epochs": "8",
    }


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("training.patience", 3, "must be null with sweep.scheduler pbt"),
        ("sweep.max_trials", 1, "must be at least 2"),
        ("sweep.pbt.quantile", 0.6, "less than or equal to 0.5"),
        ("sweep.pbt.perturb_factors", [], "at least 1 item"),
    ],
)
def test_values_that_a_population_cannot_live_with_are_refused(
    tmp_path: Path, key: str, value: object, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule):
        load(tmp_path, _RATE, **{key: value})


def test_it_meets_every_tenth_of_the_epochs_and_never_after_the_last() -> None:
    assert PBTConfig().meetings(50) == list(range(5, 50, 5))
    assert PBTConfig(perturb_every_epochs=3).meetings(10) == [3, 6, 9]
    assert PBTConfig().meetings(4) == [1, 2, 3]


def test_weights_and_steps_cannot_change_and_how_they_learn_can() -> None:
    changing = {key for key in known_keys() if can_change(key)}
    assert "model.timesformer.drop_path" in changing
    assert "data.augmentation.rotation_degrees" in changing
    for fixed in ("training.batch_size", "training.seed", "training.ema_decay", "data.num_frames",
                  "model.cnn_transformer.depth", "training.layer_decay"):  # fmt: skip
        assert fixed in known_keys() and fixed not in changing


def test_a_user_is_told_what_will_happen(tmp_path: Path) -> None:
    space = load(tmp_path, f"{_RATE}  training.batch_size: {{choices: [8, 16]}}\n")
    told = population_text(space, 3)
    assert told.startswith("Population of 8, 3 at a time: they take turns")
    assert "after epochs 2, 4, 6" in told
    assert "perturbed: training.learning_rate; what comes with the weights: training.batch" in told
    assert "take turns where the cluster has room for fewer" in population_text(space)
