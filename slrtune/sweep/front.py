"""Accuracy against memory: the Pareto front, the best for each GPU size, the best of each model."""

from __future__ import annotations

from collections.abc import Iterable

from slrtune.sweep.board import TrialRow, best_of, is_ranked
from slrtune.sweep.outcomes import MEMORY
from slrtune.sweep.results import SweepResults

GPU_SIZES_GIB = (8, 12, 16, 24, 40, 80)


def pareto_front(rows: Iterable[TrialRow]) -> list[TrialRow]:
    """Trials of which no other has both a better accuracy and a smaller measured peak.

    Returns:
        From the smallest peak to the largest, and so from the least accurate to the best.
    """
    measured = [row for row in rows if is_ranked(row) and MEMORY in row.metrics]
    measured.sort(key=lambda row: (row.metrics[MEMORY], -row.score, row.number))
    front: list[TrialRow] = []
    for row in measured:
        if not front or row.score > front[-1].score:
            front.append(row)
    return front


def best_within(rows: Iterable[TrialRow]) -> dict[int, TrialRow | None]:
    """GPU size in GiB -> the best trial whose measured training peak fits it."""
    measured = [row for row in rows if MEMORY in row.metrics]
    return {size_gib: best_of(measured, size_gib) for size_gib in GPU_SIZES_GIB}


def best_of_models(results: SweepResults) -> dict[str, TrialRow]:
    """Architecture -> its best trial, best first."""
    by_model: dict[str, list[TrialRow]] = {}
    for row in results.rows:
        name = row.params.get("model.name", results.base.model.name)
        by_model.setdefault(name, []).append(row)
    best = {name: best_of(rows, results.budget_gib) for name, rows in by_model.items()}
    ranked = {name: row for name, row in best.items() if row is not None}
    return dict(sorted(ranked.items(), key=lambda item: -item[1].score))
