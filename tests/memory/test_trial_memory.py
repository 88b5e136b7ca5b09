from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slrtune.config.experiment import Experiment
from slrtune.config.rules import broken_rules
from slrtune.memory import MemoryPredictor, TrialMemory
from slrtune.memory.micro_batch import with_micro_batch
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.construction import OutputSizes
from slrtune.training.memory_plan import MemoryPlan
from slrtune.training.peak_memory import BudgetExceededError
from slrtune.training.trial import train_trial
from tests.training.toys import Reports


@pytest.fixture
def experiment(colors_root: Path, shared_cache: Path) -> Experiment:
    """Four colours, a CNN with fixed BatchNorm statistics and no dropout."""
    section = {"backbone": "test_resnet", "pretrained": False, "freeze_batch_norm": True}
    width = {"embed_dim": 16, "depth": 1, "num_heads": 2, "dropout": 0.0}
    return Experiment.model_validate(
        {
            "data": {
                "source": "class_folders",
                "root": colors_root,
                "cache_dir": shared_cache,
                "num_frames": 2,
                "image_size": 32,
            },
            "model": {"cnn_transformer": {**section, **width}},
            "training": {"max_epochs": 2, "batch_size": 16, "micro_batch_size": "auto"},
        }
    )


def with_budget(experiment: Experiment, budget_gib: float | None) -> Experiment:
    resources = experiment.resources.model_copy(update={"memory_budget_gib": budget_gib})
    return experiment.model_copy(update={"resources": resources})


def budget_for(experiment: Experiment, micro_batch_size: int) -> float:
    predictor = MemoryPredictor("cpu", OutputSizes(4))
    return 1.001 * predictor.train_peak_gib(with_micro_batch(experiment, micro_batch_size))


def train(experiment: Experiment, folder: Path) -> tuple[dict, Reports]:
    reports = Reports()
    memory = TrialMemory()
    train_trial(experiment, folder, reports, memory)
    return read_checkpoint(folder / "checkpoints" / "last.pt")["model"], reports


def test_the_micro_batch_changes_neither_weights_nor_losses(tmp_path: Path, experiment):
    runs = {}
    for size in (2, 8):
        limited = with_budget(experiment, budget_for(experiment, size))
        weights, reports = train(limited, tmp_path / str(size))
        assert reports[-1]["micro_batch_size"] == size
        runs[size] = weights, [r[name] for r in reports for name in ("train_loss", "val_loss")]
    assert runs[2][1] == pytest.approx(runs[8][1], rel=1e-3)
    for name, value in runs[8][0].items():
        torch.testing.assert_close(runs[2][0][name], value, rtol=1e-3, atol=2e-4)


def test_predicted_and_measured_are_reported_and_agree(tmp_path: Path, experiment):
    _, reports = train(with_budget(experiment, budget_for(experiment, 4)), tmp_path)
    for metrics in reports:
        assert metrics["predicted_memory_gib"] == pytest.approx(
            metrics["peak_memory_gib"], rel=0.02
        )
        assert metrics["peak_reserved_gib"] == metrics["peak_memory_gib"]


def test_a_trial_resumes_with_another_micro_batch_on_another_gpu(tmp_path: Path, experiment):
    before = with_budget(experiment, budget_for(experiment, 8))
    reports = Reports(stop_epoch=1)
    train_trial(before, tmp_path, reports, TrialMemory())
    after = with_budget(experiment, budget_for(experiment, 2))
    _, resumed = train(after, tmp_path)
    assert [metrics["epoch"] for metrics in resumed] == [1, 2]
    assert resumed[-1]["micro_batch_size"] == 2


def test_a_step_beyond_the_budget_runs_out_of_memory_on_the_cpu(tmp_path: Path, experiment):
    budget_gib = budget_for(experiment, 4)
    too_large = with_micro_batch(with_budget(experiment, budget_gib), 16)
    with pytest.raises(torch.OutOfMemoryError, match="memory budget") as caught:
        train(too_large, tmp_path)
    assert isinstance(caught.value, BudgetExceededError)
    assert caught.value.needed_gib > budget_gib
    # and the next trial of the process is not touched by it
    _, reports = train(with_micro_batch(with_budget(experiment, budget_gib), 4), tmp_path / "next")
    assert reports[-1]["peak_memory_gib"] <= budget_gib


def test_without_a_budget_auto_is_the_whole_batch_on_the_cpu(tmp_path: Path, experiment):
    assert TrialMemory()(experiment, OutputSizes(4)).micro_batch_size == 16
    assert TrialMemory()(with_budget(experiment, None), OutputSizes(4)).limit_gib is None


def test_what_cannot_be_predicted_is_trained_all_the_same(experiment, monkeypatch, caplog):
    def fail(*_) -> None:
        raise NotImplementedError("an operator without a fake")

    monkeypatch.setattr("slrtune.memory.predictor.FakeTrial", fail)
    unseen = with_micro_batch(experiment, 16).model_copy(
        update={"data": experiment.data.model_copy(update={"num_frames": 3})}
    )
    assert TrialMemory()(unseen, OutputSizes(4)) == MemoryPlan()
    assert "cannot be predicted" in caplog.text


def test_finished_trials_are_remembered(tmp_path: Path, experiment, monkeypatch):
    monkeypatch.setattr("slrtune.memory.calibration._MIN_GIB", 0.0)
    own = experiment.model_copy(
        update={"data": experiment.data.model_copy(update={"cache_dir": tmp_path})}
    )
    memory = TrialMemory()
    plan = memory(own, OutputSizes(4))
    for _ in range(3):
        memory.learn(1.25 * plan.predicted_gib)
    assert TrialMemory()(own, OutputSizes(4)).predicted_gib == pytest.approx(
        1.25 * plan.predicted_gib
    )


def test_auto_breaks_no_rule_between_batches(experiment):
    assert broken_rules(experiment, check_paths=False) == []
