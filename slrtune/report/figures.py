"""A sweep's figures: Optuna's, each for the page (plotly) and as a PNG (matplotlib).

What one page needs is drawn without a browser and without a network.
"""

from __future__ import annotations

import html
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib
import optuna
import plotly.graph_objects as go
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from slrtune.report.study_view import Direction, SweepTrials, Values
from slrtune.report.timeline import draw_timeline, plot_timeline, spans_of
from slrtune.sweep.board import TrialRow
from slrtune.sweep.front import pareto_front
from slrtune.sweep.outcomes import MEMORY

MIN_TRIALS_FOR_IMPORTANCE = 10
_RUNG_COLOUR, _BUDGET_COLOUR = "#888888", "#7d3c98"
_FRONT_COLOUR, _DOMINATED_COLOUR, _OVER_BUDGET_COLOUR = "#c0392b", "#8db0d3", "#cccccc"
_HEIGHT_PX = 430
_MAX_LEGEND = 12


@dataclass(frozen=True)
class SweepFigure:
    """One figure, or why there is none.

    Attributes:
        key: its name in file names and links.
        title: above it.
        note: what it shows, or why it is missing.
        page: for the page; None = missing.
        picture: for a PNG; None = missing.
    """

    key: str
    title: str
    note: str
    page: go.Figure | None = None
    picture: Figure | None = None


def sweep_figures(trials: SweepTrials) -> list[SweepFigure]:
    """All figures of a sweep, in the order of the page."""
    matplotlib.use("Agg")  # Optuna draws with pyplot, which would look for a screen
    with warnings.catch_warnings():
        # matplotlib figures are experimental by name, and a script may have no font here
        warnings.simplefilter("ignore")
        return [
            _learning_curves(trials),
            _front(trials),
            _importance(trials),
            _parallel_coordinates(trials),
            _timeline(trials),
        ]


def _learning_curves(trials: SweepTrials) -> SweepFigure:
    key, title = "curves", "Learning curves"
    base, objective = trials.results.base, trials.results.base.objective
    if not any(trials.best_so_far(row) for row in trials.results.launched):
        return SweepFigure(key, title, "No trial has reported an epoch.")
    # max_epochs may be searched, and the longest trial decides
    longest = max(row.max_epochs for row in trials.results.launched) or base.training.max_epochs
    rungs = base.sweep.rungs(longest)
    page, axes = _drawn(trials, [_direction(trials)], _best_value, "plot_intermediate_values")
    page.update_layout(xaxis_title="epoch", yaxis_title=f"best {objective.label} so far")
    page.update_yaxes(tickformat=_plotly_format(trials))
    best = trials.results.best
    if best is not None:
        page.update_traces(line_width=5, selector={"name": f"Trial{best.number}"})
    for rung in rungs:
        named = f"rung {rung}"
        page.add_vline(rung, line_dash="dot", line_color=_RUNG_COLOUR, annotation_text=named)
        axes.axvline(rung, linestyle=":", color=_RUNG_COLOUR, zorder=0)
    axes.set(title=title, xlabel="epoch", ylabel=f"best {objective.label} so far")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _as_percent(trials, axes)
    judged = f"ASHA judges at the dotted lines: after epochs {_listed(rungs)}. " if rungs else ""
    marked = f"The thick line is trial {best.number}, the best. " if best else ""
    note = f"{judged}{marked}A curve that ends early was stopped, failed, or is still running."
    return SweepFigure(key, title, note, page, _finished(axes))


def _front(trials: SweepTrials) -> SweepFigure:
    key, title = "front", "Accuracy and memory"
    label, budget_gib = trials.results.base.objective.label, trials.results.budget_gib
    if not any(MEMORY in row.metrics for row in trials.ranked):
        return SweepFigure(key, title, "No trial has both a result and a measured peak of memory.")
    names = ["measured peak of training memory (GiB)", f"best {label}"]
    directions: list[Direction] = ["minimize", _direction(trials)]
    page, axes = _drawn(
        trials, directions, _memory_and_value, "plot_pareto_front", target_names=names
    )
    # Optuna colours by number, so that early trials are all but white
    page.update_traces(marker={"size": 9, "color": _DOMINATED_COLOUR, "showscale": False})
    page.data[-1].marker.color = _FRONT_COLOUR
    if len(page.data) > 2:  # there is a budget, and these are over it
        page.data[0].marker.color = _OVER_BUDGET_COLOUR
    front = pareto_front(row for row in trials.ranked if row.fits(budget_gib))
    steps = [_memory_and_value(row) or [0.0, 0.0] for row in front]
    peaks, values = [peak for peak, _ in steps], [value for _, value in steps]
    line = {"shape": "hv", "color": _FRONT_COLOUR, "width": 1}
    page.add_scatter(x=peaks, y=values, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    page.update_xaxes(rangemode="tozero")
    page.update_yaxes(tickformat=_plotly_format(trials))
    axes.step(peaks, values, where="post", color=_FRONT_COLOUR, linewidth=1, zorder=0)
    axes.set_title(title)
    _as_percent(trials, axes)
    note = "Red: no other trial is better in both. "
    if budget_gib is None:
        note += "The sweep had no memory budget."
    else:
        page.add_vline(budget_gib, line_dash="dash", line_color=_BUDGET_COLOUR,
                       annotation_text=f"budget {budget_gib:.3g} GiB")  # fmt: skip
        axes.axvline(budget_gib, linestyle="--", color=_BUDGET_COLOUR)
        note += f"The dashed line is the memory budget of {budget_gib:.3g} GiB per worker."
    return SweepFigure(key, title, note, page, _finished(axes))


def _importance(trials: SweepTrials) -> SweepFigure:
    key, title = "importance", "Which parameters matter"
    epoch, values = trials.comparable(MIN_TRIALS_FOR_IMPORTANCE)
    if epoch is None:
        return SweepFigure(
            key, title,
            f"fANOVA needs at least {MIN_TRIALS_FOR_IMPORTANCE} trials with a result to say which "
            f"parameters matter; there are {len(trials.ranked)}.",
        )  # fmt: skip
    if len(set(values.values())) < 2:
        return SweepFigure(key, title, "All trials have the same result: nothing mattered.")
    compared = [row for row in trials.ranked if row.number in values]
    everywhere = set.intersection(*(set(row.params) for row in compared))
    varied = {k for k in everywhere if len({str(row.params[k]) for row in compared}) > 1}
    if not varied:
        return SweepFigure(key, title, "No parameter was varied in all of the trials.")
    page, axes = _drawn(
        trials, [_direction(trials)],
        lambda row: [values[row.number]] if row.number in values else None,
        "plot_param_importances",
        evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0),
        target_name=f"best {trials.results.base.objective.label}",
    )  # fmt: skip
    page.update_layout(xaxis_title="share of the variance", yaxis_title=None, showlegend=False)
    axes.set_title("", loc="left")
    axes.set(title=title, xlabel="share of the variance", ylabel=None)
    axes.legend().set_visible(False)
    conditional = sorted({k for row in compared for k in row.params} - everywhere)
    note = (
        f"fANOVA (Hutter et al. 2014) over the {len(values)} trials that reached epoch {epoch} or "
        "ended by themselves before it, by the best value up to that epoch, so that stopped trials "
        "are compared fairly."
    )
    if conditional:
        note += f" Not drawn in every trial, so left out: {', '.join(conditional)}."
    return SweepFigure(key, title, note, page, _finished(axes))


def _parallel_coordinates(trials: SweepTrials) -> SweepFigure:
    key, title = "parallel", "Parallel coordinates"
    label = f"best {trials.results.base.objective.label}"
    if not any(row.params for row in trials.ranked):
        return SweepFigure(key, title, "No trial has a result.")
    page, axes = _drawn(
        trials, [_direction(trials)], _best_value, "plot_parallel_coordinate", target_name=label,
    )  # fmt: skip
    axes.set_title("")
    picture = _finished(axes)
    picture.set_size_inches(max(9.0, 2.0 * len(axes.get_xticks())), 5)
    note = "A line per trial. “None”: the parameter was not drawn, as it belongs to another choice."
    if trials.results.budget_gib is not None:
        note += " Dotted: measured over the memory budget."
    return SweepFigure(key, title, note, page, picture)


def _timeline(trials: SweepTrials) -> SweepFigure:
    key, title = "timeline", "Timeline"
    spans = spans_of(trials.results.launched)
    if not spans:
        return SweepFigure(key, title, "No trial has told its node and the time it began.")
    note = (
        "A line for each trial at a time on each node; a bar is a trial, from the start of its "
        "worker to its end."
    )
    return SweepFigure(key, title, note, _styled(plot_timeline(spans)), draw_timeline(spans))


def _drawn(
    trials: SweepTrials, directions: list[Direction], values: Values, name: str, **arguments: Any
) -> tuple[go.Figure, Axes]:
    """Optuna's figure by its name, twice."""
    in_plotly: Callable[..., go.Figure] = getattr(optuna.visualization, name)
    in_matplotlib: Callable[..., Axes] = getattr(optuna.visualization.matplotlib, name)
    # plotly takes text for a kind of HTML, matplotlib for a kind of TeX
    page = in_plotly(trials.study(directions, values, html.escape), **arguments)
    with pyplot.style.context("default"):  # Optuna sets one of its own for all that follows
        axes = in_matplotlib(trials.study(directions, values, without_tex), **arguments)
    return _styled(page), axes


def without_tex(text: str) -> str:
    """Text that matplotlib takes as it is."""
    return text.replace("$", r"\$")


def _styled(page: go.Figure) -> go.Figure:
    return page.update_layout(
        template="plotly_white",
        title=None,
        height=_HEIGHT_PX,
        margin={"t": 40, "r": 50, "b": 50},
        modebar_orientation="v",  # a row of buttons would lie over legends
    )


def _finished(axes: Axes) -> Figure:
    figure = axes.figure
    assert isinstance(figure, Figure)
    legend = axes.get_legend()
    if legend is not None and len(legend.get_texts()) > _MAX_LEGEND:
        legend.remove()
    return figure


def _best_value(row: TrialRow) -> list[float] | None:
    return None if row.best_value is None else [row.best_value]


def _memory_and_value(row: TrialRow) -> list[float] | None:
    value, peak_gib = row.best_value, row.metrics.get(MEMORY)
    return None if value is None or peak_gib is None else [peak_gib, value]


def _direction(trials: SweepTrials) -> Direction:
    return "maximize" if trials.results.base.objective.mode == "max" else "minimize"


def _is_percent(trials: SweepTrials) -> bool:
    return trials.results.base.objective.text(0.5).endswith("%")


def _plotly_format(trials: SweepTrials) -> str:
    return ".0%" if _is_percent(trials) else ""


def _as_percent(trials: SweepTrials, axes: Axes) -> None:
    if _is_percent(trials):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))
