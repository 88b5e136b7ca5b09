"""When which trial ran on which node."""

from __future__ import annotations

import datetime
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go
from matplotlib import dates
from matplotlib.figure import Figure

from slrtune.report.words import params_text
from slrtune.sweep.board import TrialRow

OUTCOME_COLOURS = {
    "completed": "#2e8b57", "pruned": "#e0a800", "oom": "#a43fa4", "error": "#c0392b",
    "interrupted": "#7f8c8d", "running": "#3b6ea5",
}  # fmt: skip


@dataclass(frozen=True)
class Span:
    """A trial's time on a node.

    Attributes:
        row: the trial.
        place: the node, and which of the trials at a time on it.
        begin, end: local time.
    """

    row: TrialRow
    place: str
    begin: datetime.datetime
    end: datetime.datetime


def spans_of(rows: Iterable[TrialRow]) -> list[Span]:
    """Trials that told where and when they began, by time; no two at a time on one line."""
    told = [row for row in rows if "node" in row.metrics and "started_at" in row.metrics]
    told.sort(key=lambda row: row.metrics["started_at"])
    lanes: dict[str, list[float]] = {}  # node -> when each of its lines is free again
    spans = []
    for row in told:
        begin_s = float(row.metrics["started_at"])
        end_s = float(row.metrics.get("ended_at", begin_s + row.metrics.get("total_s", 0.0)))
        free_at = lanes.setdefault(str(row.metrics["node"]), [])
        lane = next((i for i, free_s in enumerate(free_at) if free_s <= begin_s), len(free_at))
        free_at[lane : lane + 1] = [max(begin_s, end_s)]
        place = f"{row.metrics['node']} #{lane + 1}"
        spans.append(Span(row, place, _local(begin_s), _local(max(begin_s, end_s))))
    return spans


def plot_timeline(spans: Sequence[Span]) -> go.Figure:
    """Bars by node, coloured by outcome."""
    figure = go.Figure()
    for outcome in dict.fromkeys(span.row.state for span in spans):
        of_outcome = [span for span in spans if span.row.state == outcome]
        figure.add_bar(
            orientation="h",
            name=outcome,
            base=[span.begin for span in of_outcome],
            x=[(span.end - span.begin).total_seconds() * 1000 for span in of_outcome],
            y=[html.escape(span.place) for span in of_outcome],
            text=[str(span.row.number) for span in of_outcome],
            hovertext=[
                html.escape(f"trial {span.row.number}: {params_text(span.row.params)}")
                for span in of_outcome
            ],
            hoverinfo="text",
            marker_color=OUTCOME_COLOURS.get(outcome, "#7f8c8d"),
            marker_line={"width": 1, "color": "white"},
        )
    places = sorted({html.escape(span.place) for span in spans}, reverse=True)
    figure.update_layout(barmode="overlay", showlegend=True, legend_orientation="h", legend_y=1.12)
    figure.update_xaxes(type="date")
    figure.update_yaxes(type="category", categoryorder="array", categoryarray=places)
    figure.update_yaxes(automargin=True)
    return figure


def draw_timeline(spans: Sequence[Span]) -> Figure:
    """The same in matplotlib."""
    places = sorted({span.place for span in spans}, reverse=True)
    figure = Figure(figsize=(11, 1.5 + 0.35 * len(places)), dpi=80, layout="constrained")
    axes = figure.subplots()
    named = set()
    for span in spans:
        state = span.row.state
        axes.barh(
            places.index(span.place),
            dates.date2num(span.end) - dates.date2num(span.begin),
            left=dates.date2num(span.begin),
            color=OUTCOME_COLOURS.get(state, "#7f8c8d"),
            edgecolor="white",
            label=None if state in named else state,
        )
        named.add(state)
    axes.set_yticks(range(len(places)), [place.replace("$", r"\$") for place in places])
    axes.xaxis_date()
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.25), ncols=6, frameon=False, fontsize=8)
    return figure


def _local(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds)
