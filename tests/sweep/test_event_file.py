"""Event files whose disk is full or away: TensorBoard's own reader finds every event afterwards."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from slrtune.sweep.event_file import EventFile
from tests.training.test_storage import full_disk


def event(step: int, size: int = 1) -> Event:
    value = Summary.Value(tag="x" * size, simple_value=1.0)
    return Event(step=step, summary=Summary(value=[value]))


def steps(folder: Path) -> list[int]:
    [file] = folder.iterdir()
    return [read.step for read in LegacyEventFileLoader(str(file)).Load() if read.summary.value]


def test_what_did_not_fit_the_disk_is_written_when_there_is_room(tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = EventFile(run)
    file.write(event(1))
    with full_disk():
        file.write(event(2, 5000))
        assert not file.is_written
        assert steps(run) == [1]  # no half record
    file.write(event(3))
    assert file.is_written
    assert steps(run) == [1, 2, 3]


def test_a_folder_that_is_away_is_not_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sweep, away = tmp_path / "sweep", tmp_path / "away"
    (sweep / "tensorboard").mkdir(parents=True)
    run = sweep / "tensorboard" / "trial_000"
    file = EventFile(run)
    sweep.rename(away)
    file.write(event(1))
    lost = EventFile(run, ".params")
    with caplog.at_level(logging.WARNING):
        lost.close()
    assert "lacks its last events" in caplog.text
    assert not sweep.exists()
    away.rename(sweep)
    file.close()
    assert steps(run) == [1]
