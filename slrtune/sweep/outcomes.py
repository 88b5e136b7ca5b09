"""How trials end, and which of their figures the study keeps."""

from __future__ import annotations

import math
from typing import Any, Literal

from slrtune.config.objective import Objective

Outcome = Literal["completed", "pruned", "oom", "infeasible", "error", "interrupted"]
"""completed: trained to its own end. pruned: stopped by the scheduler. oom: did not fit the memory
that there was. infeasible: predicted over the memory budget and never launched. error: a mistake of
the user or a bug. interrupted: cut off by Ctrl-C or a kill, or
because its folder could not be written."""

MEMORY = "peak_memory_gib"
# Prefix of a validation metric of the best epoch so far; which one is best the objective says.
BEST = "best_val_"
# What a worker's device must have free, as predicted: more than its peak of tensors on a GPU.
PREDICTED_NEED = "predicted_need_gib"
INFERENCE_MEMORY = "inference_memory_gib"

# In a report of a trial of a population: it has come to a meeting, and waits for the others.
WAITS_FOR_OTHERS = "waits_for_others"
# User attribute with a trial's figures so far; at its end they become attributes of their own.
LAST_REPORT = "last_report"
# User attribute of a trial of another sweep, which is there for the sampler only: its folder.
WARM_START_FROM = "warm_start_from"

_KEPT = (
    "epoch", "max_epochs", MEMORY, "peak_reserved_gib",
    "predicted_memory_gib", PREDICTED_NEED, INFERENCE_MEMORY, "micro_batch_size", "clips_per_s",
    "data_wait_share", "total_s", "num_parameters", "train_coverage", "val_coverage",
    "node", "started_at", "num_restarts", "restart_reason", "outcome", "error",
)  # fmt: skip
# What Tune adds to every report, beside times.
_OF_TUNE = (
    "number", "pid", "timestamp", "timesteps_total", "timesteps_since_restore",
    "training_iteration", "iterations_since_restore", "episodes_total",
)  # fmt: skip


def kept(result: dict[str, Any]) -> dict[str, Any]:
    """The figures of a report that the study keeps."""
    return {name: v for name, v in result.items() if name in _KEPT or name.startswith(BEST)}


def own_figures(result: dict[str, Any]) -> dict[str, int | float]:
    """The numbers of a report that are of the trial, and not Tune's bookkeeping."""
    return {
        name: value
        for name, value in result.items()
        if isinstance(value, int | float)
        and not isinstance(value, bool)
        and name not in _OF_TUNE
        and not name.startswith("time_")
    }


def outcome_of(result: dict[str, Any], objective: Objective, *, is_error: bool) -> Outcome:
    """How a launched trial ended, from its last result."""
    if result.get("outcome") == "oom":
        return "oom"
    if result.get("outcome") == "interrupted":
        return "interrupted"
    if is_error or result.get("outcome") == "error":
        return "error"
    value = result.get(objective.best_metric)
    if value is None or not math.isfinite(value):
        return "error"
    if result.get("outcome") == "completed" or result["epoch"] >= result["max_epochs"]:
        return "completed"
    return "pruned"
