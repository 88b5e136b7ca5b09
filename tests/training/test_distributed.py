from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from slrtune.training import compiling, distributed
from slrtune.training.checkpoint import read_checkpoint
from slrtune.training.metrics import ClassificationMetrics
from tests.training.test_translation import judged
from tests.training.toys import Reports, ToyModel, toy_trainer

RECIPE = {"batch_size": 8, "micro_batch_size": 2, "max_epochs": 2}
THAW = {"freeze_epochs": 1, "ema_decay": 0.5}


def count_exchange(calls, bucket):
    calls.append(bucket.index())
    return allreduce_hook(dist.group.WORLD, bucket)


def measured(rank: int, world_size: int, *, is_given: bool = True) -> dict[str, float]:
    """Metrics of this rank's share of random logits with ties and an empty class."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(-3, 4, (53, 12), generator=generator).float()
    labels = torch.randint(0, 11, (53,), generator=generator)
    logits[torch.arange(0, 53, 2), labels[::2]] += 4
    metrics = ClassificationMetrics(torch.device("cpu"))
    if is_given:
        metrics.update(logits[rank::world_size], labels[rank::world_size])
    return metrics.compute()


def two_ranks(rank: int, folder: Path) -> None:
    """Everything that needs two processes, in one start of them; findings go to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/group", rank=rank, world_size=2)
    place = {"rank": rank, "world_size": 2}

    trainer, reports = toy_trainer(folder / "trial", **place, **RECIPE), Reports()
    trainer.fit(reports)
    found = {"weights": trainer.model.state_dict(), "reports": list(reports)}

    resumed, reports = toy_trainer(folder / "trial", **place, **RECIPE), Reports()
    resumed.fit(reports)
    found["resumed_reports"] = list(reports)

    stopped = toy_trainer(**place, **RECIPE)
    found["is_stopped"] = stopped.fit(Reports(stop_epoch=1))

    # rank 1 alone meets a NaN, in the second micro-batch of its first step
    poisoned = toy_trainer(model=ToyModel(poisoned_calls=(2,) if rank else ()), **place, **RECIPE)
    found["poisoned_loss"] = poisoned.train_epoch()["train_loss"]
    found["num_skipped_steps"] = poisoned.stepper.num_skipped_steps
    found["poisoned_weights"] = poisoned.model.state_dict()

    normed = toy_trainer(model=ToyModel(use_batch_norm=True), **place, **RECIPE)
    num_exchanges: list[int] = []
    normed.network.register_comm_hook(num_exchanges, count_exchange)
    normed.train_epoch()
    found["num_exchanges"] = len(num_exchanges)
    found["own_mean"] = normed.model.batch_norm.running_mean.clone()
    normed.validate()
    found["joint_mean"] = normed.model.batch_norm.running_mean

    found["metrics"] = measured(rank, 2)
    found["written"] = judged([0, 3, 2] if rank == 0 else [1])
    found["written_by_rank_zero"] = judged([0, 1, 2, 3] if rank == 0 else [])
    found["metrics_of_rank_zero"] = measured(0, 2, is_given=rank == 0)
    thawed = toy_trainer(folder / "thawed", **place, **RECIPE, **THAW)
    thawed.fit(Reports())
    found["thawed_weights"] = thawed.model.state_dict()
    found["best_weights"] = read_checkpoint(folder / "thawed" / "best.pt")["model"]

    compiling.BACKEND = "aot_eager"
    compiled = toy_trainer(**place, **RECIPE, compile=True)
    found["compiled_loss"] = compiled.train_epoch()["train_loss"]
    found["compiled_weights"] = compiled.model.state_dict()

    try:
        distributed.from_rank_zero(lambda: 1 // 0)
    except Exception as error:
        found["error"] = repr(error)
    torch.save(found, folder / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> list[dict]:
    folder = tmp_path_factory.mktemp("two_ranks")
    mp.spawn(two_ranks, args=(folder,), nprocs=2)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(2)]


@pytest.fixture(scope="module")
def alone() -> tuple[dict, list[dict[str, float]]]:
    trainer, reports = toy_trainer(**RECIPE), Reports()
    trainer.fit(reports)
    return trainer.model.state_dict(), reports


def test_two_ranks_train_the_weights_that_one_trains(found, alone):
    for name, weight in alone[0].items():
        torch.testing.assert_close(found[0]["weights"][name], weight, rtol=0, atol=1e-5)
        assert torch.equal(found[0]["weights"][name], found[1]["weights"][name])


def test_two_ranks_measure_what_one_measures(found, alone):
    for ours, theirs in zip(found[0]["reports"], alone[1], strict=True):
        assert (ours["val_top1"], ours["val_top5"]) == (theirs["val_top1"], theirs["val_top5"])
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], rel=1e-4)
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=1e-4)


def test_metrics_per_class_of_two_ranks_are_those_of_one(found):
    assert found[0]["metrics"] == found[1]["metrics"]
    expected = measured(0, 1)
    assert found[0]["metrics"] == pytest.approx(expected, rel=1e-14)
    assert found[0]["metrics"]["val_top1_per_class"] != found[0]["metrics"]["val_top1"]


def test_a_rank_without_a_clip_joins_the_metrics(found):
    assert found[0]["metrics_of_rank_zero"] == found[1]["metrics_of_rank_zero"]
    assert found[0]["metrics_of_rank_zero"] == pytest.approx(measured(0, 2), rel=1e-14)


def test_both_ranks_report_the_same_accuracy_and_hear_the_stop(found):
    accuracies = [[report["val_top1"] for report in rank["reports"]] for rank in found]
    assert accuracies[0] == accuracies[1]
    assert len(accuracies[0]) > 0
    assert [rank["is_stopped"] for rank in found] == [True, True]


def test_both_ranks_resume(found):
    assert found[0]["resumed_reports"] == found[0]["reports"][-1:]


def test_a_nan_on_one_rank_skips_the_step_on_both(found):
    assert [rank["num_skipped_steps"] for rank in found] == [1, 1]
    assert found[0]["poisoned_loss"] == found[1]["poisoned_loss"]
    assert math.isfinite(found[0]["poisoned_loss"])
    for name, weight in found[0]["poisoned_weights"].items():
        assert torch.equal(weight, found[1]["poisoned_weights"][name])


def test_batch_norm_statistics_are_averaged_before_validation(found):
    own = [rank["own_mean"] for rank in found]
    assert not torch.equal(own[0], own[1])
    for rank in found:
        assert torch.equal(rank["joint_mean"], (own[0] + own[1]) / 2)


def test_ranks_exchange_gradients_once_per_optimizer_step(found):
    assert found[0]["num_exchanges"] == 2  # 16 clips in batches of 8, in 4 micro-batches


def test_an_error_on_rank_zero_is_raised_on_both(found):
    assert found[0]["error"].startswith("ZeroDivisionError")
    assert "rank 0 failed: ZeroDivisionError" in found[1]["error"]


def test_two_ranks_thaw_an_encoder_as_one_does(found, tmp_path: Path):
    alone = toy_trainer(tmp_path, **RECIPE, **THAW)
    before = alone.model.encoder.weight.clone()
    alone.fit(Reports())
    assert not torch.equal(alone.model.encoder.weight, before)
    best = read_checkpoint(tmp_path / "best.pt")["model"]
    for rank in found:
        torch.testing.assert_close(dict(rank["thawed_weights"]), dict(alone.model.state_dict()))
        torch.testing.assert_close(dict(rank["best_weights"]), dict(best))


def test_two_ranks_train_a_compiled_model(found):
    alone = toy_trainer(**RECIPE)
    assert found[0]["compiled_loss"] == pytest.approx(alone.train_epoch()["train_loss"], rel=1e-4)
    for rank in found:
        torch.testing.assert_close(
            dict(rank["compiled_weights"]), dict(alone.model.state_dict()), rtol=0, atol=1e-5
        )


def test_text_is_judged_over_the_clips_of_all_ranks(found):
    together = judged([0, 1, 2, 3])
    for ranks in found:
        assert ranks["written"] == pytest.approx(together)
        assert ranks["written_by_rank_zero"] == pytest.approx(together)
