"""The figures of a trial's finished epochs."""

from __future__ import annotations

from collections.abc import Iterable

from slrtune.config.objective import Objective

History = list[dict[str, float]]
"""Metrics of each finished epoch, in order; plain, so that any checkpoint can hold it."""

_WORST = ("peak_memory_gib", "peak_reserved_gib")  # a trial needs what its worst epoch needed


def best_epoch(history: History, objective: Objective) -> dict[str, float]:
    """Metrics of the epoch that is best by the objective; the first one of equals."""
    return max(history, key=lambda metrics: objective.score(metrics[objective.metric]))


def record_epoch(
    history: History, measured: dict[str, float], objective: Objective, headline: Iterable[str]
) -> None:
    """Add a finished epoch, with its number, times and peaks, and the best epoch's figures so far.

    Args:
        measured: of this epoch, the same on all ranks where ranks must agree.
        headline: what to repeat of the best epoch, beside what the objective names.
    """
    epoch_s = measured["train_s"] + measured["val_s"]
    metrics = {
        **measured,
        "epoch": len(history) + 1,
        "epoch_s": epoch_s,
        "total_s": epoch_s + sum(past["epoch_s"] for past in history),
        **{
            name: max([measured[name], *(past.get(name, 0.0) for past in history)])
            for name in _WORST
        },
    }
    history.append(metrics)
    best = best_epoch(history, objective)
    for name in dict.fromkeys((objective.metric, objective.companion, *headline)):
        metrics[f"best_{name}"] = best[name]
