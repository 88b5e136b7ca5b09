"""A sweep's tables: the same on the screen and in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from slrtune.config.objective import metric_label, metric_text
from slrtune.report.words import duration, number, params_text, peak_memory, percent
from slrtune.sweep.board import TrialRow, is_ranked
from slrtune.sweep.front import best_of_models, best_within, pareto_front
from slrtune.sweep.results import SweepResults


@dataclass(frozen=True)
class TableOfText:
    """Title, names of the columns, and rows of as many cells."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def leaderboard(results: SweepResults, top: int) -> TableOfText:
    """The ``top`` launched trials, best first."""
    objective = results.base.objective
    rows = [
        (
            str(place) if is_ranked(row) else "–",
            str(row.number),
            row.state,
            str(row.epoch),
            objective.text(row.best_value),
            metric_text(objective.companion, row.metrics.get(objective.best_companion)),
            peak_memory(row, 3),
            number(row.metrics.get("clips_per_s"), 1),
            percent(row.metrics.get("data_wait_share")),
            duration(row.metrics.get("total_s", 0.0)),
            params_text(row.params),
        )
        for place, row in enumerate(results.launched[:top], 1)
    ]
    judged = (f"best {objective.label}", metric_label(objective.companion))
    figures = ("peak GiB", "clips/s", "data wait", "train time", "parameters")
    columns = ("rank", "trial", "outcome", "epochs", *judged, *figures)
    return TableOfText(f"Leaderboard of {results.folder.name}", columns, rows)


def models_table(results: SweepResults) -> TableOfText:
    """Accuracy, memory and time of the best trial of each model."""
    rows = [
        (
            name,
            row.objective.text(row.best_value),
            peak_memory(row, 3),
            number(row.metrics.get("inference_memory_gib"), 3),
            duration(row.metrics.get("total_s", 0.0)),
            str(row.number),
        )
        for name, row in best_of_models(results).items()
    ]
    columns = ("model", _best_name(results), "train GiB", "inference GiB", "time", "trial")
    return TableOfText("Best of each model (measured)", columns, rows)


def sizes_table(results: SweepResults) -> TableOfText:
    """The best trial that fits each GPU size."""
    rows = [
        (f"{size_gib} GiB", *(_front_cells(row) if row else ("–",) * 4))
        for size_gib, row in best_within(results.rows).items()
    ]
    title = "Best for each GPU size (by measured training peak)"
    return TableOfText(title, ("GPU", *_front_columns(results)), rows)


def front_table(results: SweepResults) -> TableOfText:
    """The Pareto front of the objective against training memory."""
    rows = [_front_cells(row) for row in pareto_front(results.rows)]
    title = f"Pareto front: {results.base.objective.label} against training memory"
    return TableOfText(title, _front_columns(results), rows)


def _best_name(results: SweepResults) -> str:
    return f"best {results.base.objective.label}"


def _front_columns(results: SweepResults) -> tuple[str, ...]:
    return (_best_name(results), "peak GiB", "trial", "parameters")


def _front_cells(row: TrialRow) -> tuple[str, ...]:
    return (
        row.objective.text(row.best_value),
        peak_memory(row, 3),
        str(row.number),
        params_text(row.params),
    )
