"""Trials as TensorBoard runs: scalars over epochs, and hyperparameters from a trial's start.

Ray's own writer shows hyperparameters only when a trial ends, none for a trial that died early,
the last metric instead of the best, and everything as success.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from slrtune.config.objective import metric_label
from slrtune.config.search_space import SearchSpace
from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.outcomes import BEST

TENSORBOARD_FOLDER = "tensorboard"
# What one compares trials by, in the HParams table.
_COMPARED = {
    "peak_memory_gib": "peak memory (GiB)",
    "predicted_memory_gib": "predicted (GiB)",
    "clips_per_s": "clips/s",
}
_SCALARS = (
    "train_loss", "val_loss", "val_top1", "val_top5", "val_top10", "val_top1_per_class",
    "val_bleu", "val_chrf", "val_wer", "learning_rate",
    "peak_memory_gib", "predicted_memory_gib", "peak_reserved_gib", "clips_per_s",
    "data_wait_share", "epoch_s",
)  # fmt: skip
_STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "oom": api_pb2.STATUS_FAILURE,
    "error": api_pb2.STATUS_FAILURE,
    "interrupted": api_pb2.STATUS_UNKNOWN,
}


class RunWriter:
    """Scalars of one run in one folder.

    Args:
        folder: the run's folder; TensorBoard shows its name.
    """

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

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
        self._writer.add_event(Event(summary=summary, step=step, wall_time=time.time()))
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class TensorBoardWatcher:
    """Writes a sweep as it goes: one run per trial.

    Args:
        folder: the sweep's TensorBoard folder.
        space: whose parameters become HParams columns.
    """

    def __init__(self, folder: Path, space: SearchSpace) -> None:
        self._folder = folder
        self._writers: dict[int, RunWriter] = {}
        root = RunWriter(folder)
        root.add(_columns(space))
        root.close()

    def on_start(self, row: TrialRow) -> None:
        """Parameters are there from the start, also for a trial that dies."""
        writer = self._writers.setdefault(
            row.number, RunWriter(self._folder / f"trial_{row.number:03d}")
        )
        params = {key: _plain(value) for key, value in row.params.items()}
        writer.add(summary_v2.hparams_pb(params, trial_id=f"trial_{row.number:03d}"))

    def on_epoch(self, row: TrialRow) -> None:
        """Scalars over epochs."""
        self._writers[row.number].scalars(row.metrics)

    def on_end(self, row: TrialRow) -> None:
        """How it ended."""
        writer = self._writers.pop(row.number, None)
        if writer is not None:
            writer.add(_session_end(_STATUS[row.state]))
            writer.close()

    def on_infeasible(self, row: TrialRow) -> None:
        """Nothing: it has no curves."""

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing: what is written is flushed at once."""

    def on_interrupt(self) -> None:
        """Nothing: the trials' ends are written as they come."""


def _columns(space: SearchSpace) -> Summary:
    hparams = [summary_v2.HParam(parameter.key) for parameter in space.parameters]
    objective = space.base.objective
    best = {
        objective.best_metric: f"best {objective.label}",
        objective.best_companion: f"{metric_label(objective.companion)} there",
    }
    compared = {**best, **_COMPARED}
    metrics = [summary_v2.Metric(tag, display_name=name) for tag, name in compared.items()]
    return summary_v2.hparams_config_pb(hparams=hparams, metrics=metrics)


def _session_end(status: int) -> Summary:
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _plain(value: Any) -> bool | float | int | str:
    # HParams knows numbers, truth values and text; null and lists would vanish.
    return value if isinstance(value, bool | int | float | str) else str(value)
