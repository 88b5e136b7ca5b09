"""Trials as TensorBoard runs: parameters from a trial's start, scalars over epochs, its outcome.

Ray's own writer shows hyperparameters only when a trial ends, none for a trial that died early,
the last metric instead of the best, and everything as success.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary

from slrtune.config.objective import metric_label
from slrtune.config.search_space import SearchSpace
from slrtune.sweep import tensorboard_events as events
from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.event_file import EventFile
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.outcomes import BEST, PREDICTED_NEED

_logger = logging.getLogger(__name__)

# What one compares trials by, in the HParams table, beside the objective.
_COMPARED = {
    "peak_memory_gib": "peak memory (GiB)",
    "clips_per_s": "clips/s",
    "total_s": "training time (s)",
}
_SCALARS = (
    "train_loss", "val_loss", "val_top1", "val_top5", "val_top10", "val_top1_per_class",
    "val_bleu", "val_chrf", "val_wer", "val_rouge", "num_ctc_lost", "learning_rate",
    "peak_memory_gib", "predicted_memory_gib", "peak_reserved_gib", "clips_per_s",
    "data_wait_share", "epoch_s", "total_s",
)  # fmt: skip
# The parameters have a file of their own, which is replaced when the outcome is known.
_PARAMS_SUFFIX = ".params"

Pictures = Callable[[Path], Mapping[str, bytes]]
"""A trial's folder -> tag and PNG of each picture that can be drawn of it."""


class RunWriter:
    """One run in one folder.

    Args:
        folder: the run's folder; TensorBoard shows its name.
        suffix: of the file's name.
    """

    def __init__(self, folder: Path, suffix: str = "") -> None:
        self._file = EventFile(folder, suffix)

    @property
    def is_written(self) -> bool:
        """Whether the storage took all of it so far."""
        return self._file.is_written

    def scalars(self, metrics: Mapping[str, Any]) -> None:
        """Write the known metrics of one epoch."""
        values = [
            Summary.Value(tag=name, simple_value=float(metrics[name]))
            for name in metrics
            if name in _SCALARS or name.startswith(BEST)
        ]
        self.add(Summary(value=values), int(metrics["epoch"]))

    def add(self, summary: Summary, step: int = 0) -> None:
        """Write one summary, at once: TensorBoard follows a running sweep."""
        self._file.write(Event(summary=summary, step=step, wall_time=time.time()))

    def close(self) -> None:
        """Close the event file."""
        self._file.close()


class TensorBoardWatcher:
    """Writes a sweep as it goes: one run per trial. A context manager.

    A sweep that is resumed goes on in the same runs.

    Args:
        folder: the TensorBoard folder inside the sweep's.
        space: whose parameters become HParams columns.
        pictures: draws what an ended trial left; None = no pictures.
    """

    def __init__(self, folder: Path, space: SearchSpace, pictures: Pictures | None = None) -> None:
        self._folder, self._space, self._pictures = folder, space, pictures
        self._writers: dict[int, RunWriter] = {}
        self._rows: dict[int, TrialRow] = {}
        self._last_epoch: dict[int, int] = {}
        # Drawing takes a second, in which Tune's loop must not stand still.
        self._artist = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        if not list(folder.glob("events.*")):  # TensorBoard would keep the first anyway
            root = RunWriter(folder)
            root.add(events.columns(space, {**_best_columns(space), **_COMPARED}))
            root.close()

    def __enter__(self) -> TensorBoardWatcher:
        return self

    def __exit__(self, *_: object) -> None:
        """Trials that are still open were interrupted."""
        for row in list(self._rows.values()):
            self.on_end(replace(row, state="interrupted"))
        self._artist.shutdown(wait=True)

    def take_up(self, rows: Iterable[TrialRow]) -> None:
        """Write the ends that a driver which was killed could not write any more."""
        for row in rows:
            if row.state == "interrupted":
                continue  # it goes on
            files = [file.read_bytes() for file in self._run(row).glob(f"*{_PARAMS_SUFFIX}")]
            if not files or any(b"running" in content for content in files):
                self.on_start(row)
                self.on_end(row)

    def on_start(self, row: TrialRow) -> None:
        """Parameters are there from the start, also for a trial that dies."""
        # Of a trial that goes on, which repeats its last report: it may not be in the run yet.
        self._last_epoch[row.number] = events.last_step(self._run(row)) if row.epoch else 0
        if row.number not in self._writers:
            self._writers[row.number] = RunWriter(self._run(row))
        self._rows[row.number] = row
        self._write_params(row, "running")

    def on_epoch(self, row: TrialRow) -> None:
        """Scalars over epochs."""
        if row.epoch > self._last_epoch[row.number]:
            self._last_epoch[row.number] = row.epoch
            self._writers[row.number].scalars(row.metrics)

    def on_end(self, row: TrialRow) -> None:
        """How it ended, and what it looked like."""
        self._rows.pop(row.number, None)
        writer = self._writers.pop(row.number, None)
        if writer is None:
            return
        self._write_params(row, row.state)
        if row.state != "interrupted":  # TensorBoard keeps the first that it reads: it may go on
            writer.add(events.session_end(row.state))
        reason = f": {row.metrics['error']}" if "error" in row.metrics else ""
        writer.add(events.text("outcome", f"**{row.state}** after epoch {row.epoch}{reason}"))
        self._artist.submit(self._draw, writer, row)

    def on_infeasible(self, row: TrialRow) -> None:
        """It has no curves, but a place in the table, with what it was predicted to need."""
        self._write_params(row, row.state)
        writer = RunWriter(self._run(row))
        needed_gib = row.metrics.get(PREDICTED_NEED)
        if needed_gib is not None:
            writer.scalars({"epoch": 0, "predicted_memory_gib": needed_gib})
        writer.add(events.session_end(row.state))
        writer.add(events.text("outcome", "**infeasible**: predicted over the memory budget"))
        writer.close()

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing: what is written is flushed at once."""

    def on_interrupt(self) -> None:
        """Nothing: the trials' ends are written as they come."""

    def _run(self, row: TrialRow) -> Path:
        return trial_folder(self._folder, row.number)

    def _write_params(self, row: TrialRow, outcome: str) -> None:
        """In place of an earlier file: TensorBoard reads the first that a run has."""
        run = self._run(row)
        earlier = list(run.glob(f"*{_PARAMS_SUFFIX}"))
        writer = RunWriter(run, _PARAMS_SUFFIX)
        writer.add(events.session_start(run.name, self._space, row.params, outcome))
        writer.close()
        for file in earlier if writer.is_written else []:
            file.unlink(missing_ok=True)

    def _draw(self, writer: RunWriter, row: TrialRow) -> None:
        folder = trial_folder(self._folder.parent, row.number)
        try:
            for tag, png in (self._pictures(folder) if self._pictures else {}).items():
                writer.add(events.picture(tag, png), row.epoch)
        except Exception:  # a picture less is no reason to disturb a sweep
            _logger.exception("the pictures of trial %d were not drawn", row.number)
        finally:
            writer.close()


def _best_columns(space: SearchSpace) -> dict[str, str]:
    objective = space.base.objective
    return {
        objective.best_metric: f"best {objective.label}",
        objective.best_companion: f"{metric_label(objective.companion)} there",
    }
