"""A sweep on one page: HTML that needs no network, and its figures as PNGs."""

from __future__ import annotations

import datetime
import io
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import plotly.offline
from matplotlib import pyplot
from plotly.graph_objects import Figure

from slrtune.config.json_file import read_json
from slrtune.report.figures import SweepFigure, sweep_figures
from slrtune.report.study_view import read_trials
from slrtune.report.tables import TableOfText, front_table, leaderboard, models_table, sizes_table
from slrtune.report.words import in_shell, number, params_text, peak_memory, short
from slrtune.sweep.board import TrialRow
from slrtune.sweep.folder import PLAN_FILE, is_running
from slrtune.sweep.outcomes import PREDICTED_NEED
from slrtune.sweep.results import SweepResults, best_yaml, read_results, write_best_schedule

REPORT_FOLDER = "report"
PAGE_FILE = "index.html"
_MAX_FAILURES, _MAX_TRACEBACK_CHARACTERS = 100, 8000
_PLOTLY_CONFIG = {"displaylogo": False, "responsive": True}


@dataclass(frozen=True)
class Failure:
    """A trial that has no result, and why.

    Attributes:
        row: the trial.
        reason: in a line.
        more: the worker's message and traceback; empty = none.
    """

    row: TrialRow
    reason: str
    more: str = ""


def write_report(folder: Path, out: Path) -> list[Path]:
    """Read a sweep, finished or not, and write its page and pictures. The sweep is left as it is.

    Args:
        folder: the sweep's.
        out: where to write; is made.

    Returns:
        What was written, the page first.

    Raises:
        UserError: it is no sweep's folder, or a damaged one.
    """
    results = _as_of_now(read_results(folder))
    figures = sweep_figures(read_trials(folder, results))
    out.mkdir(parents=True, exist_ok=True)
    config_file = out / "best.yaml"
    config = best_yaml(results, config_file.name)
    page = out / PAGE_FILE
    text = _page(results, figures, config, config_file)
    page.write_text(text, encoding="utf-8", errors="replace")  # a path may be no text
    written = [page]
    if config is not None:
        config_file.write_text(config, encoding="utf-8")
        written.append(config_file)
        if (schedule := write_best_schedule(results, out)) is not None:
            written.append(schedule)
    for figure in figures:
        if figure.picture is not None:
            written.append(out / f"{figure.key}.png")
            written[-1].write_bytes(_png(figure))
    return written


def _as_of_now(results: SweepResults) -> SweepResults:
    """What has not ended runs, if the sweep does; else it was cut off."""
    if not is_running(results.folder):
        return results
    rows = [
        replace(row, state="running") if row.state == "interrupted" else row for row in results.rows
    ]
    return replace(results, rows=rows)


def _page(
    results: SweepResults, figures: list[SweepFigure], config: str | None, config_file: Path
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("slrtune.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    plan = read_json(results.folder / PLAN_FILE, "experiment")
    return environment.get_template("sweep.html.j2").render(
        name=results.folder.name,
        headline=_headline(results),
        written=f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
        leaderboard=leaderboard(results, top=len(results.launched)),
        measured=_measured(results),
        figures=[(figure, _drawn(figure)) for figure in figures],
        failures=(failures := _failures(results))[:_MAX_FAILURES],
        num_more_failures=max(0, len(failures) - _MAX_FAILURES),
        best=results.best,
        objective=results.base.objective,
        commands=_commands(results, config_file),
        config=config,
        origin=_origin(results, plan),
        plotly_js=plotly.offline.get_plotlyjs(),
    )


def _headline(results: SweepResults) -> list[str]:
    """What one wants to know first."""
    best, rows = results.best, results.launched
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    lines = ["the sweep is still running"] if is_running(results.folder) else []
    lines += [f"{len(rows)} trials: " + ", ".join(f"{n} {s}" for s, n in sorted(counts.items()))]
    num_infeasible = len(results.rows) - len(rows)
    if num_infeasible:
        lines.append(f"{num_infeasible} configurations predicted over the budget, not launched")
    if results.budget_gib is not None:
        lines.append(f"memory budget {results.budget_gib:.3g} GiB per worker")
    if best is None:
        lines.append("no trial has a result yet")
    else:
        lines.insert(
            0,
            f"best {best.objective.label} {best.objective.text(best.best_value)}: trial "
            f"{best.number}, peak memory {peak_memory(best, 3)} GiB, {params_text(best.params)}",
        )
    return lines


def _measured(results: SweepResults) -> list[TableOfText]:
    if results.best is None:
        return []
    return [models_table(results), sizes_table(results), front_table(results)]


def _failures(results: SweepResults) -> list[Failure]:
    """Trials without a result, those that were launched first."""
    found = []
    for row in sorted(results.rows, key=lambda row: (row.state == "infeasible", row.number)):
        if row.state in ("completed", "pruned", "running"):
            continue
        told = str(row.metrics.get("error", ""))
        reason = {
            "infeasible": f"predicted to need {number(row.metrics.get(PREDICTED_NEED))} GiB",
            "interrupted": "cut off; slrtune sweep --resume goes on with it",
            "oom": told or "ran out of memory",
        }.get(row.state, told or "unknown")
        found.append(Failure(row, reason, _error_text(results.trial_folder(row) / "error.txt")))
    return found


def _error_text(file: Path) -> str:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    cut = len(text) - _MAX_TRACEBACK_CHARACTERS
    return text if cut <= 0 else f"… {cut} characters before\n{text[cut:]}"


def _commands(results: SweepResults, config_file: Path) -> list[str]:
    """Train the best again; judge the checkpoint that the sweep left."""
    commands = [f"slrtune train {shlex.quote(short(config_file))}"]
    if (results.folder / "best.pt").exists():
        commands.append(f"slrtune evaluate {in_shell(results.folder)} --split test")
    return commands


def _origin(results: SweepResults, plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """With which code and seeds it was made; a resumed sweep has several starts."""
    best = results.best
    training = results.experiment(best).training if best is not None else results.base.training
    rows: list[tuple[str, Any]] = []
    for start in plan.get("starts", []):
        versions = ", ".join(f"{name} {v}" for name, v in start.get("versions", {}).items())
        rows += [
            ("started", start.get("at")),
            ("git commit", start.get("git_commit")),
            ("versions", f"Python {start.get('python')}, {versions}"),
        ]
    rows += [
        ("search space", plan.get("search_space")),
        ("seed of the training", training.seed),
        ("seed of the sampler", results.base.sweep.seed),
        ("sweep's folder", results.folder),
    ]
    return [(what, str(value)) for what, value in rows if value is not None]


def _drawn(figure: SweepFigure) -> str:
    """Its HTML. Plotly escapes what could end a script."""
    page: Figure | None = figure.page
    if page is None:
        return ""
    return str(
        page.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure-{figure.key}",
            config=_PLOTLY_CONFIG,
        )
    )


def _png(figure: SweepFigure) -> bytes:
    picture = io.BytesIO()
    assert figure.picture is not None
    figure.picture.savefig(picture, format="png", dpi=100, bbox_inches="tight")
    pyplot.close(figure.picture)
    return picture.getvalue()
