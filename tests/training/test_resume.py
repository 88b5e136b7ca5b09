from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.toys import Reports, ToyModel, toy_trainer

SECONDS = {"clips_per_s", "train_s", "val_s", "epoch_s", "total_s", "data_wait_share"}
RECIPE = {"batch_size": 8, "micro_batch_size": 2, "max_epochs": 6}


def train(folder: Path, stop_epoch: int | None = None) -> tuple[dict, Reports]:
    reports = Reports(stop_epoch)
    trainer = toy_trainer(folder, ToyModel(dropout=0.3), **RECIPE)
    trainer.fit(reports)
    return trainer.model.state_dict(), reports


def untimed(reports: list[dict[str, float]]) -> list[dict[str, float]]:
    return [{k: v for k, v in metrics.items() if k not in SECONDS} for metrics in reports]


def assert_same_bits(weights: dict, others: dict) -> None:
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


def test_a_resumed_trial_equals_an_unbroken_one_bit_by_bit(tmp_path: Path):
    unbroken, all_reports = train(tmp_path / "unbroken")
    train(tmp_path / "resumed", stop_epoch=3)
    torch.rand(7)  # what else happens in the process does not matter
    resumed, last_reports = train(tmp_path / "resumed")
    assert_same_bits(resumed, unbroken)
    assert untimed(last_reports) == untimed(all_reports[2:])


def test_resuming_in_a_fresh_process_is_exact_and_needs_no_ray(tmp_path: Path):
    unbroken, _ = train(tmp_path / "unbroken")
    train(tmp_path / "resumed", stop_epoch=2)
    script = (
        "import sys; from pathlib import Path; from tests.training.test_resume import train;"
        f"train(Path({str(tmp_path / 'resumed')!r})); assert 'ray' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    resumed, reports = train(tmp_path / "resumed")
    assert [metrics["epoch"] for metrics in reports] == [6]
    assert_same_bits(resumed, unbroken)


def test_the_last_report_is_repeated_first_for_it_may_have_been_lost(tmp_path: Path):
    _, reports = train(tmp_path, stop_epoch=3)
    _, repeated = train(tmp_path, stop_epoch=3)
    assert repeated == reports[-1:]


@pytest.mark.parametrize("stop_epoch", [None, 6])
def test_a_finished_trial_reports_its_end_and_trains_no_more(tmp_path: Path, stop_epoch):
    weights, reports = train(tmp_path)
    again, repeated = train(tmp_path, stop_epoch)
    assert repeated == reports[-1:]
    assert_same_bits(again, weights)


def test_the_skip_count_and_the_loss_scale_are_resumed(tmp_path: Path):
    first = toy_trainer(tmp_path, ToyModel(poisoned_calls=(4,)), precision="fp16")
    first.fit(Reports(stop_epoch=1))
    second = toy_trainer(tmp_path, precision="fp16")
    assert second.resume()
    ours, theirs = second.stepper.state_dict(), first.stepper.state_dict()
    for key in ("scaler", "num_steps", "num_skipped_steps", "num_skipped_in_a_row"):
        assert ours[key] == theirs[key]
    assert ours["num_skipped_in_a_row"] == 1
    assert ours["scaler"]["scale"] < 65536


class LostError(Exception):
    """The machine is gone."""


def lose_after(num_steps: int) -> Callable[[], None]:
    left = iter(range(num_steps))

    def on_step() -> None:
        if next(left, None) is None:
            raise LostError

    return on_step


@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 7])
def test_a_trial_lost_in_mid_epoch_goes_on_from_its_last_save_bit_by_bit(
    tmp_path: Path, num_steps: int
):
    recipe = {"batch_size": 4, "micro_batch_size": 2, "max_epochs": 3, "checkpoint_every_steps": 2}
    model = {"dropout": 0.3, "use_batch_norm": True}
    unbroken = toy_trainer(tmp_path / "unbroken", ToyModel(**model), **recipe)
    unbroken.fit(all_reports := Reports())
    lost = toy_trainer(tmp_path / "resumed", ToyModel(**model), **recipe)
    lost.on_step = lose_after(num_steps)
    with pytest.raises(LostError):
        lost.fit(Reports())
    torch.rand(5)
    resumed = toy_trainer(tmp_path / "resumed", ToyModel(**model), **recipe)
    steps: list[int] = []
    resumed.on_step = lambda: steps.append(resumed.stepper.num_steps)
    resumed.fit(reports := Reports())
    assert steps[0] == num_steps // 2 * 2 + 1  # no step is done twice but those since the save
    assert_same_bits(resumed.model.state_dict(), unbroken.model.state_dict())
    assert untimed(reports)[-3:] == untimed(all_reports)[-3:][-len(reports) :]
