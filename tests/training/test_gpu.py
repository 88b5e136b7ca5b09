from __future__ import annotations

from pathlib import Path

import pytest
import torch

from slrtune.training.batches import copied_ahead
from slrtune.training.precision import resolve_precision
from tests.training.toys import CPU, Reports, ToyModel, toy_trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
GPU = torch.device("cuda", 0)


def test_auto_is_a_low_precision_on_gpu():
    assert resolve_precision("auto", GPU).name in {"bf16", "fp16"}


def test_a_gpu_trains_the_weights_that_a_cpu_trains():
    on_gpu, on_cpu = (toy_trainer(device=d, precision="float32") for d in (GPU, CPU))
    for trainer in (on_gpu, on_cpu):
        trainer.train_epoch()
    for ours, theirs in zip(on_gpu.model.parameters(), on_cpu.model.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, rtol=0, atol=1e-4)


@pytest.mark.parametrize("precision", ["auto", "fp16"])
def test_a_gpu_trial_resumes_bit_by_bit_and_measures_its_memory(tmp_path: Path, precision):
    def train(folder: Path, stop_epoch: int | None = None) -> tuple[dict, Reports]:
        trainer = toy_trainer(folder, ToyModel(dropout=0.3), device=GPU, precision=precision)
        reports = Reports(stop_epoch)
        trainer.fit(reports)
        return trainer.model.state_dict(), reports

    unbroken, reports = train(tmp_path / "unbroken")
    train(tmp_path / "resumed", stop_epoch=3)
    resumed, _ = train(tmp_path / "resumed")
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert reports[-1]["peak_memory_gib"] > 0


def test_batches_copied_ahead_are_the_batches():
    loader = toy_trainer(device=CPU).train_loader
    for ours, theirs in zip(copied_ahead(iter(loader), GPU), loader, strict=True):
        assert ours.frames.device == GPU
        assert ours.clip_ids.device == CPU
        assert torch.equal(ours.frames.cpu(), theirs.frames)
        assert torch.equal(ours.labels.cpu(), theirs.labels)
