"""A sweep's folder that is away or full: the search waits, or ends, and loses nothing."""

from __future__ import annotations

import resource
from pathlib import Path
from threading import Timer
from typing import Any

from ray.tune.search import Searcher

from slrtune.sweep.storage_watch import StopInTrouble, StorageWatch
from slrtune.sweep.study import be_patient, read_study
from tests.sweep.simulated import MAX_EPOCHS, a_search, an_epoch


def run_one(watch: StorageWatch, trial_id: str) -> None:
    config = watch.suggest(trial_id)
    assert isinstance(config, dict)
    for epoch in range(1, MAX_EPOCHS + 1):
        watch.on_trial_result(trial_id, an_epoch(config["params"], epoch))
    watch.on_trial_complete(trial_id, an_epoch(config["params"], MAX_EPOCHS))


def a_watch(folder: Path, patience_s: float) -> StorageWatch:
    search = a_search(folder, sampler="random")
    be_patient(search.study, patience_s)
    watch = StorageWatch(search)
    run_one(watch, "0")
    return watch


def outcomes(folder: Path) -> list[Any]:
    trials = read_study(folder).get_trials()
    return [(trial.user_attrs.get("outcome"), len(trial.intermediate_values)) for trial in trials]


def test_a_folder_that_is_away_for_a_moment_costs_nothing_but_time(tmp_path: Path) -> None:
    folder, away = tmp_path / "s", tmp_path / "away"
    watch = a_watch(folder, patience_s=30.0)
    folder.rename(away)
    Timer(0.7, lambda: away.rename(folder)).start()
    run_one(watch, "1")
    assert watch.trouble == ""
    assert outcomes(folder) == [("completed", MAX_EPOCHS)] * 2


def test_a_folder_that_stays_away_ends_the_sweep_and_what_was_known_stays(tmp_path: Path) -> None:
    folder, away = tmp_path / "s", tmp_path / "away"
    watch = a_watch(folder, patience_s=0.0)
    config = watch.suggest("1")
    assert isinstance(config, dict)
    watch.on_trial_result("1", an_epoch(config["params"], 1))
    assert not StopInTrouble(watch).stop_all()
    folder.rename(away)
    watch.on_trial_result("1", an_epoch(config["params"], 2))
    assert "study.log: cannot be used (No such file or directory)" in watch.trouble
    assert StopInTrouble(watch).stop_all()
    assert watch.suggest("2") == Searcher.FINISHED
    # Tune says so of trials that it stops: that is no end of theirs.
    watch.on_trial_complete("1", an_epoch(config["params"], 2))
    assert not folder.exists()
    away.rename(folder)
    assert outcomes(folder) == [("completed", MAX_EPOCHS), (None, 1)]


def test_a_line_that_a_full_disk_cuts_off_does_not_damage_the_study(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    watch = a_watch(folder, patience_s=0.0)
    size = (folder / "study.log").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20, limits[1]))
    try:
        assert watch.suggest("1") == Searcher.FINISHED
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in watch.trouble
    assert (folder / "study.log").stat().st_size == size
    assert outcomes(folder) == [("completed", MAX_EPOCHS)]


def test_a_trial_that_its_worker_could_not_save_stays_open_and_ends_the_sweep(
    tmp_path: Path,
) -> None:
    watch = a_watch(tmp_path / "s", patience_s=0.0)
    assert isinstance(watch.suggest("1"), dict)
    watch.on_trial_complete("1", {"is_storage_away": True, "error": "last.pt: cannot be used"})
    assert watch.trouble == "last.pt: cannot be used"
    assert outcomes(tmp_path / "s") == [("completed", MAX_EPOCHS), (None, 0)]
