"""A sweep whose runs_dir is the address of an object store, without Ray: what is where, and when.

The store is a server on loopback that speaks S3.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from slrtune.cli.main import app
from slrtune.cluster.resources import TrialShare
from slrtune.config import lease
from slrtune.config.addresses import folder_of
from slrtune.config.errors import UserError
from slrtune.config.lease import Lease
from slrtune.config.mirror import Mirror, mirror_of
from slrtune.sweep.at_address import InStep, copy_for_reader
from slrtune.sweep.checkpoints import CheckpointKeeper
from slrtune.sweep.plan import SweepPlan, write_plan
from slrtune.sweep.status import read_status
from slrtune.sweep.stop import ask_to_stop, stopping_when_asked
from slrtune.sweep.storage_watch import StorageWatch
from slrtune.sweep.study import read_study
from slrtune.sweep.trials import EarlierTrial
from tests.object_store import object_store
from tests.sweep.simulated import MAX_EPOCHS, SPACE, a_search, an_epoch, run_trials
from tests.sweep.test_resume import NUM_TRIALS, KilledError, drive, told

Address = Callable[[str], str]


@pytest.fixture(scope="module")
def store() -> Iterator[Address]:
    with object_store() as (address, _):
        yield address


@pytest.fixture
def runs(store: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address of its own, seen from a machine of its own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("_POLL_S", "_SETTLE_S"):
        monkeypatch.setattr(lease, name, 0.05)
    return store(tmp_path.name)


@pytest.fixture
def folder(runs: str) -> Path:
    return folder_of(runs) / "s"


def mirror(folder: Path) -> Mirror:
    found = mirror_of(folder)
    assert found is not None
    return found


def begin(folder: Path) -> InStep:
    folder.mkdir(parents=True, exist_ok=True)
    return InStep(folder, patience_s=0.0)


def sweep(folder: Path, num_trials: int = 2) -> None:
    """A sweep that ran here, and whose last trial was cut off in its second epoch."""
    with begin(folder).held("{owner}") as step:
        search = a_search(folder)
        write_plan(SweepPlan(SPACE, folder, TrialShare(1, 1.0, 0.0, 2)))
        run_trials(search, num_trials)
        watch = StorageWatch(search, step.keep_study)
        config = watch.suggest("c")
        assert isinstance(config, dict)
        watch.on_trial_result("c", an_epoch(config["params"], 1))


def said(arguments: list[str]) -> str:
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def values(folder: Path) -> list[Any]:
    return [trial.intermediate_values for trial in read_study(folder).get_trials()]


def test_another_machine_lists_reads_and_reports_a_sweep_by_its_address(
    runs: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep(folder)
    here = read_status(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "another"))
    assert "s " in (listed := said(["list", "--runs-dir", runs]))
    assert "stopped" in listed
    told = said(["status", "s", "--runs-dir", runs])
    assert "s is stopped: 2 of 20 trials have ended (2 completed, 1 waiting)" in told
    assert "trial 2 waiting, epoch 1 of 4" in told
    assert f"/{tmp_path.name}/s?" in told  # what to resume, by its address
    assert here.best is not None
    assert f"Best: trial {here.best.number}" in said(["results", folder_address(runs)])
    out = tmp_path / "page"
    said(["report", "s", "--runs-dir", runs, "--out", str(out)])
    assert (out / "index.html").exists() or list(out.glob("*.html"))


def folder_address(runs: str) -> str:
    place, _, options = runs.partition("?")
    return f"{place}/s?{options}"


def test_what_is_at_the_address_wins_over_what_lies_here(folder: Path) -> None:
    sweep(folder)
    whole = values(folder)
    # Another sweep of the same name ran here once, and left more than this one has.
    shutil.rmtree(folder)
    run_trials(a_search(folder), 5)
    (folder / "trial_007").mkdir()
    (folder / "trial_007" / "error.txt").write_text("of the other")
    with begin(folder).held("{owner}"):
        assert values(folder) == whole
        assert not (folder / "trial_007" / "error.txt").exists()
    copy_for_reader(folder)
    assert values(folder) == whole


def test_nothing_goes_on_before_the_study_is_at_the_address(folder: Path, tmp_path: Path) -> None:
    """A driver may be killed between any two calls: what was told before is there."""
    elsewhere = tmp_path / "seen" / "study.log"
    elsewhere.parent.mkdir()
    with begin(folder).held("{owner}") as step:
        watch = StorageWatch(a_search(folder), step.keep_study)

        def seen() -> list[Any]:
            elsewhere.write_bytes(mirror(folder).read("study.log") or b"")
            return values(elsewhere.parent)

        config = watch.suggest("a")
        assert isinstance(config, dict)
        assert seen() == [{}]
        for epoch in range(1, MAX_EPOCHS + 1):
            watch.on_trial_result("a", an_epoch(config["params"], epoch))
            assert [len(trial) for trial in seen()] == [epoch]
        watch.on_trial_complete("a", an_epoch(config["params"], MAX_EPOCHS))
        seen()
        assert read_study(elsewhere.parent).trials[0].state.is_finished()


class Watched(StorageWatch):
    """Stands for the search, as in Tune."""

    @property
    def earlier(self) -> list[EarlierTrial]:
        return self.search.earlier


def test_a_sweep_killed_on_machine_after_machine_tells_the_same_as_an_unbroken_one(
    runs: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"num_startup_trials": 3, "max_trials": NUM_TRIALS, "sampler": "tpe"}
    unbroken = a_search(tmp_path / "unbroken", **settings)
    drive(unbroken, {})
    mirror(folder).write("sweep.json", b"{}")
    checkpoints: dict[int, int] = {}
    num_machines, is_over = 0, False
    while not is_over:
        num_machines += 1
        monkeypatch.setenv("HOME", str(tmp_path / f"machine-{num_machines}"))
        here = folder_of(runs) / "s"
        copy_for_reader(here)
        search = Watched(a_search(here, **settings), InStep(here, 0.0).keep_study)
        with contextlib.suppress(KilledError):
            drive(search, checkpoints, iter(range(7)))  # type: ignore[arg-type]
            is_over = True
    assert num_machines > 4
    assert told(search.search) == told(unbroken)


def test_checkpoints_that_are_not_needed_go_at_the_address_too(folder: Path) -> None:
    with begin(folder).held("{owner}"):
        search = a_search(folder)
        run_trials(search, 3)
        search.suggest("d")
        names = [
            f"trial_00{number}/checkpoints/{name}.pt"
            for number in range(4)
            for name in ("best", "last", "previous")
        ]
        for name in (*names, "trial_000/error.txt"):
            mirror(folder).write(name, b"weights")
        base = SPACE.base
        few = base.model_copy(
            update={"sweep": base.sweep.model_copy(update={"keep_checkpoints": 1})}
        )
        CheckpointKeeper(folder, search.study, few, None).tidy()
        best = search.study.best_trial.number
        left = {name for name in mirror(folder).files() if "/" in name}
    open_trial = {name for name in names if name.startswith("trial_003")}
    assert left == {f"trial_00{best}/checkpoints/best.pt", *open_trial, "trial_000/error.txt"}


def test_a_working_folder_that_was_cleared_away_takes_nothing_from_the_address(
    folder: Path,
) -> None:
    folder.mkdir(parents=True)
    write_plan(SweepPlan(SPACE, folder, TrialShare(1, 1.0, 0.0, 1)))
    step = InStep(folder, 0.0)
    step.keep_rest()
    assert "sweep.json" in mirror(folder).files()
    shutil.rmtree(folder)
    step.keep_rest()
    assert "sweep.json" in mirror(folder).files()


def test_one_driver_at_a_time_and_the_next_when_it_is_gone(folder: Path) -> None:
    at_address = mirror(folder)
    first = Lease(at_address, lease_s=2.0)
    first.take("{owner}", print)
    is_over = threading.Event()

    def live() -> None:
        while not is_over.wait(0.1):
            first._write()

    thread = threading.Thread(target=live)
    thread.start()
    said: list[str] = []
    with pytest.raises(UserError, match=r"process \d+ on \S+ runs it"):
        Lease(at_address, lease_s=2.0).take("{owner} runs it", said.append)
    assert "waiting up to 2 s to see whether it still lives" in said[0]
    is_over.set()
    thread.join()
    second = Lease(at_address, lease_s=0.5)
    second.take("{owner}", print)  # it waits for as long as the first may still live
    with pytest.raises(lease.LeaseLostError, match="has taken it over"):
        first._check()
    first.release()  # of another: nothing happens
    second._check()
    second.release()
    assert at_address.files() == {}


def test_a_driver_that_was_taken_for_dead_writes_nothing_more(folder: Path) -> None:
    is_told = pytest.raises(UserError, match="another process has taken it over")
    with is_told, begin(folder).held("{owner}") as step:
        watch = StorageWatch(a_search(folder), step.keep_study)
        watch.suggest("a")
        before = mirror(folder).read("study.log")
        Lease(mirror(folder), lease_s=0.0).take("{owner}", print)
        step._lease._last_beat_s -= 100.0  # type: ignore[union-attr]
        watch.suggest("b")
        assert "has taken it over from this process" in watch.trouble
    assert mirror(folder).read("study.log") == before


def test_stop_reaches_a_driver_on_another_machine(folder: Path, tmp_path: Path) -> None:
    sweep(folder)
    is_stopped = pytest.raises(KeyboardInterrupt)
    with is_stopped, begin(folder).held("{owner}"), stopping_when_asked(folder):
        mirror(folder).write("stop", b"")
        threading.Event().wait(20.0)
    assert mirror(folder).find("stop", "lease.json") == {}
    assert ask_to_stop(folder, wait_s=0.0)  # of one that has ended
    assert mirror(folder).find("stop") == {}


def test_a_store_that_is_away_ends_the_sweep_with_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with object_store() as (address, server):
        folder = folder_of(address("runs")) / "s"
        is_told = pytest.raises(
            UserError, match=r"^runs_dir: s3://bucket/runs/s.*NETWORK_CONNECTION.*is only in"
        )
        with is_told, begin(folder).held("{owner}") as step:
            watch = StorageWatch(a_search(folder), step.keep_study)
            server.stop()
            watch.suggest("a")
            assert "cannot be used (When" in watch.trouble


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("s3://key:hidden@bucket/runs", "must be an address without keys"),
        ("s3://bucket/runs?secret_key=hidden", "must be an address without keys"),
        ("ftp://bucket/runs", "must be a folder, or an address such as"),
        ("s3://bucket/../runs", "must be a folder, or an address such as"),
    ],
)
def test_an_address_that_cannot_be_used_is_told_at_its_line_and_without_its_keys(
    tmp_path: Path, address: str, rule: str
) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(f"training: {{max_epochs: 3}}\nruns_dir: {address}\n")
    for arguments in (["check", str(file)], ["status", "s", "--runs-dir", address]):
        with pytest.raises(UserError, match=rule) as refused:
            CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert "hidden" not in str(refused.value)
        assert arguments[0] != "check" or str(refused.value).startswith(f"{file}:2: runs_dir must")


def test_a_bucket_that_is_not_there_is_told_before_any_work(runs: str, tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text("")
    nowhere = runs.replace("s3://bucket", "s3://nobucket")
    for arguments in (
        ["train", str(file), "--set", f"runs_dir={nowhere}"],
        ["list", "--runs-dir", nowhere],
    ):
        with pytest.raises(UserError, match=r"runs_dir: s3://nobucket/\S+ cannot be used"):
            CliRunner().invoke(app, arguments, catch_exceptions=False)
