"""What a plan says of a space, with a predictor whose answers are known."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Parameter, SearchSpace
from slrtune.config.sweep import ASHAConfig, SweepConfig
from slrtune.config.validate import experiment_from_dict
from slrtune.report.memory_figure import write_memory_figure
from slrtune.sweep.forecast import draw_params, expected_epochs, forecast_memory
from slrtune.sweep.memory_map import map_memory
from slrtune.sweep.time_forecast import forecast_time
from slrtune.training.construction import OutputSizes


@dataclass(frozen=True)
class Known:
    """A prediction of a known size."""

    train_peak_gib: float
    parts: dict[str, float] = field(default_factory=dict)


class TenthOfAGibPerClipAndBlock:
    """Memory in proportion to micro-batch and depth."""

    def predict(self, experiment: Experiment) -> Known:
        training, section = experiment.training, experiment.model.section
        assert isinstance(training.micro_batch_size, int | None)
        clips = training.micro_batch_size or training.batch_size
        return Known(0.1 * clips * section.depth)


class CannotTrace:
    """Fails as a model does that reads the values of its tensors."""

    def predict(self, experiment: Experiment) -> Known:
        raise RuntimeError("Cannot call item() on a fake tensor\nmore")


@pytest.fixture
def space() -> SearchSpace:
    tiny = {"backbone": "test_resnet", "pretrained": False, "embed_dim": 32, "num_heads": 2}
    raw = {
        "data": {"num_frames": 4, "image_size": 32},
        "model": {
            "cnn_transformer": tiny,
            "timesformer": {"embed_dim": 32, "num_heads": 2, "patch_size": 8},
        },
        "training": {"max_epochs": 9},
        "sweep": {"max_trials": 10, "asha": {"grace_epochs": 1}},
    }
    base = experiment_from_dict(raw, "test")
    parameters = (
        Parameter("model.name", choices=("cnn_transformer", "timesformer")),
        Parameter("training.batch_size", choices=(2, 8, 32)),
        Parameter("training.learning_rate", low=1e-5, high=1e-2, log=True),
        Parameter(
            "model.cnn_transformer.depth",
            low=1,
            high=3,
            when=(("model.name", ("cnn_transformer",)),),
        ),
        Parameter("model.timesformer.depth", low=1, high=2,
                  when=(("model.name", ("timesformer",)),)),
    )  # fmt: skip
    point = {"model.name": "timesformer", "training.batch_size": 32, "model.timesformer.depth": 2}
    return SearchSpace("tiny", base, parameters, (point,))


def test_draws_start_with_the_points_and_follow_the_ranges(space: SearchSpace) -> None:
    draws = draw_params(space, 200)
    assert draws[0] | space.points[0] == draws[0]
    rates = sorted(draw["training.learning_rate"] for draw in draws)
    assert 1e-4 < rates[100] < 1e-3  # the middle of a logarithmic range
    assert draws == draw_params(space, 200)


def test_draws_over_the_budget_are_counted_and_explained(space: SearchSpace) -> None:
    forecast = forecast_memory(space, TenthOfAGibPerClipAndBlock(), 3.0, 150)
    over = [draw for draw in forecast.draws if draw.peak_gib > 3.0]
    assert forecast.over == over and 0 < len(over) < 150
    assert forecast.share_fitting == pytest.approx(1 - len(over) / 150)
    assert all(draw.params["training.batch_size"] == 32 for draw in over)
    worst = forecast.reasons()[0]
    assert (worst.key, worst.values) == ("training.batch_size", "32")
    assert worst.share_over == 1.0
    assert "training.learning_rate" not in [share.key for share in forecast.reasons()[:2]]


def test_without_a_budget_everything_fits(space: SearchSpace) -> None:
    forecast = forecast_memory(space, TenthOfAGibPerClipAndBlock(), None, 20)
    assert forecast.share_fitting == 1.0 and forecast.reasons() == []


def test_asha_s_expected_epochs() -> None:
    sweep = SweepConfig(asha=ASHAConfig(grace_epochs=1, reduction_factor=3))
    # rungs 1 and 3 of 9: all train 1 epoch, a third 2 more, a ninth 6 more
    assert expected_epochs(sweep, 9) == pytest.approx(1 + 2 / 3 + 6 / 9)
    assert expected_epochs(SweepConfig(scheduler="none"), 9) == 9


def test_the_memory_map_has_a_cell_for_every_setting(space: SearchSpace, tmp_path: Path) -> None:
    maps = map_memory(space, TenthOfAGibPerClipAndBlock())
    assert [m.family for m in maps] == ["cnn_transformer", "timesformer"]
    cnn = maps[0]
    assert cnn.depths == (1, 2, 3)
    assert cnn.peak_gib[-1][0][cnn.micro_batches.index(8)] == pytest.approx(0.1 * 8 * 3)
    picture = tmp_path / "map.png"
    write_memory_figure(picture, maps, 3.0, "memory")
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_time_is_measured_once_and_scaled_by_arithmetic(space: SearchSpace) -> None:
    cnn_only = replace(space, parameters=space.parameters[1:4], points=())
    draws = forecast_memory(cnn_only, TenthOfAGibPerClipAndBlock(), None, 12).draws
    times = forecast_time(draws, OutputSizes(5), 100, 20, torch.device("cpu"))
    (family,) = times.families
    assert family.share == 1.0 and family.train_s_per_clip > 0 and family.val_s_per_clip > 0
    epoch_s = 100 * family.train_s_per_clip + 20 * family.val_s_per_clip
    epochs = expected_epochs(space.base.sweep, 9)
    assert times.trial_s == pytest.approx(epochs * epoch_s, rel=0.5)
    assert times.device_hours == pytest.approx(10 * times.trial_s / 3600)


def test_what_cannot_be_predicted_is_said_without_a_traceback(space: SearchSpace) -> None:
    with pytest.raises(UserError, match=r"cannot be predicted \(RuntimeError: Cannot call item"):
        forecast_memory(space, CannotTrace(), 1.0, 4)
