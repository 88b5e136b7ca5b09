from __future__ import annotations

import itertools
import multiprocessing
import resource
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.training.checkpoint import CheckpointStore, read_checkpoint
from tests.training.toys import GLOSSES, Reports, toy_trainer

STATE = {"model": {"weight": torch.arange(4000.0)}}


def store(folder: Path, glosses=GLOSSES, **training) -> CheckpointStore:
    return CheckpointStore(folder, Experiment.model_validate({"training": training}), glosses)


def saved_twice(folder: Path) -> CheckpointStore:
    checkpoints = store(folder)
    checkpoints.save_last({**STATE, "epoch": 1})
    checkpoints.save_last({**STATE, "epoch": 2})
    return checkpoints


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(4000.0).numpy().tobytes()) + 8000] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_one_bit, empty])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(tmp_path: Path, damage, caplog):
    checkpoints = saved_twice(tmp_path)
    damage(checkpoints.last)
    assert checkpoints.load_last()["epoch"] == 1
    assert "last.pt is damaged" in caplog.text


def test_a_damaged_checkpoint_never_replaces_the_good_one(tmp_path: Path):
    checkpoints = saved_twice(tmp_path)
    truncate(checkpoints.last)
    checkpoints.load_last()
    checkpoints.save_last({**STATE, "epoch": 2})
    assert read_checkpoint(checkpoints.previous)["epoch"] == 1
    assert read_checkpoint(checkpoints.last)["epoch"] == 2


def test_when_all_are_damaged_the_error_names_them_and_the_cure(tmp_path: Path):
    checkpoints = saved_twice(tmp_path)
    truncate(checkpoints.last)
    truncate(checkpoints.previous)
    with pytest.raises(UserError, match=r"last\.pt and .*previous\.pt .*delete"):
        checkpoints.load_last()


def test_a_crash_between_the_two_renames_loses_nothing(tmp_path: Path):
    checkpoints = saved_twice(tmp_path)
    checkpoints.last.replace(checkpoints.previous)
    assert checkpoints.load_last()["epoch"] == 2


def test_a_full_disk_leaves_the_old_checkpoints_and_no_rubbish(tmp_path: Path):
    checkpoints = saved_twice(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises((OSError, RuntimeError)):
            checkpoints.save_last({**STATE, "epoch": 3})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]
    assert checkpoints.load_last()["epoch"] == 2


def save_for_ever(folder: Path, first_epoch: int, saved_once: Event) -> None:
    for epoch in itertools.count(first_epoch):
        store(folder).save_last({**STATE, "epoch": epoch})
        saved_once.set()


def test_a_save_killed_at_any_moment_leaves_a_whole_checkpoint(tmp_path: Path):
    checkpoints, newest = saved_twice(tmp_path), 2
    context = multiprocessing.get_context("forkserver")  # this process has threads
    context.set_forkserver_preload([__name__])
    for delay_ms in range(1, 21):
        saved_once = context.Event()
        child = context.Process(target=save_for_ever, args=(tmp_path, newest + 1, saved_once))
        child.start()
        saved_once.wait()  # however slow the machine is: the kill hits a later save
        time.sleep(delay_ms / 1000)
        child.kill()
        child.join()
        before, newest = newest, checkpoints.load_last()["epoch"]
        assert newest > before
    assert not (tmp_path / "last.pt.corrupt").exists()


def test_a_folder_without_checkpoints_starts_anew(tmp_path: Path):
    assert store(tmp_path).load_last() is None


def test_other_settings_are_refused_by_name(tmp_path: Path):
    store(tmp_path, learning_rate=0.1, max_epochs=5).save_last(STATE)
    with pytest.raises(UserError, match=r"training\.learning_rate was 0\.1 and is now 0\.2"):
        store(tmp_path, learning_rate=0.2, max_epochs=5).load_last()
    with pytest.raises(UserError, match=r"training\.max_epochs was 5 and is now 6"):
        store(tmp_path, learning_rate=0.1, max_epochs=6).load_last()
    with pytest.raises(UserError, match="glosses was"):
        store(tmp_path, glosses=("x",), learning_rate=0.1, max_epochs=5).load_last()


def test_best_checkpoint_describes_itself(tmp_path: Path):
    trainer, reports = toy_trainer(tmp_path, max_epochs=30, learning_rate=0.2), Reports()
    # stop where the last epoch is not the best one
    assert trainer.fit(lambda m: reports(m) and m["val_top1"] == m["best_val_top1"])
    best = torch.load(tmp_path / "best.pt", weights_only=True)
    assert Experiment.model_validate_json(best["experiment"]).training == trainer.config
    assert tuple(best["glosses"]) == GLOSSES
    assert best["metrics"] == reports[int(best["metrics"]["epoch"]) - 1]
    trainer.model.load_state_dict(best["model"])
    assert trainer.validate()["val_top1"] == best["metrics"]["val_top1"]
    assert best["metrics"]["val_top1"] == reports[-1]["best_val_top1"]


@pytest.mark.parametrize(("num_told", "first_again"), [(None, 4), (4, 4), (9, 4), (2, 2), (0, 1)])
def test_a_resumed_trial_reports_again_what_may_not_have_arrived(
    tmp_path: Path, num_told: int | None, first_again: int
):
    reports, again = Reports(), Reports()
    toy_trainer(tmp_path, max_epochs=4).fit(reports)
    toy_trainer(tmp_path, max_epochs=4).fit(again, num_told)
    assert again == reports[first_again - 1 :]
