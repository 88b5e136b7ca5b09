"""A plan from the user's side: what of a space fits, what is dropped and why, and the time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from slrtune.cli.console import progress_bar, say, table
from slrtune.cli.disk import disk_forecast
from slrtune.cli.prepare import prepare
from slrtune.config.addresses import address_of
from slrtune.config.errors import UserError
from slrtune.config.population import population_text
from slrtune.config.search_space import SearchSpace
from slrtune.memory import MemoryPredictor, device_type, this_device
from slrtune.memory.micro_batch import budget_of
from slrtune.report.memory_figure import write_memory_figure
from slrtune.report.words import duration, number, params_text, percent
from slrtune.sweep.disk_forecast import DiskForecast, check_disk
from slrtune.sweep.forecast import Draw, MemoryForecast, forecast_memory
from slrtune.sweep.memory_map import map_memory
from slrtune.sweep.time_forecast import TimeForecast, forecast_time
from slrtune.training.lesson import needs_of, sizes_of

_MAX_SHOWN = 5
_MAX_REASONS = 8


def run(space: SearchSpace, gpu: str | None, num_draws: int, use_probe: bool, out: Path) -> None:
    """Predict, draw, print."""
    base = space.base
    here = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = device_type(gpu) if gpu else this_device()
    prepared = prepare(base.data, needs_of(base))
    sizes = sizes_of(base, prepared)
    predictor = MemoryPredictor(device, sizes, base.resources.workers_per_trial)
    budget_gib: float | None = budget_of(base, device)
    if budget_gib == float("inf"):
        budget_gib = None
    with progress_bar() as show:
        forecast = forecast_memory(
            space, predictor, budget_gib, num_draws,
            lambda done, total: show("predicting memory", done, total),
        )  # fmt: skip
        maps = map_memory(
            space, predictor, lambda done, total: show("drawing the memory map", done, total)
        )
    if base.sweep.scheduler == "pbt":
        say(population_text(space))
    _print_memory(forecast, device.name)
    _print_reasons(forecast)
    limit = f"; budget {budget_gib:.3g} GiB: ✗ is over it" if budget_gib else ""
    write_memory_figure(out, maps, budget_gib, f"Predicted peak memory (GiB), {device.name}{limit}")
    say(f"Memory over micro-batch, chunks and depth: {out}")
    _print_disk(disk_forecast(space, sizes, base.sweep.max_concurrent_trials or 1), base.runs_dir)
    fitting = [draw for draw in forecast.draws if not forecast.is_over(draw)]
    if not fitting:
        say("Nothing fits: raise the budget, or widen the space to smaller values", style="red")
        raise SystemExit(1)
    if use_probe:
        splits = prepared.coverage.splits
        times = forecast_time(
            fitting,
            sizes,
            splits[base.data.train_split].usable,
            splits[base.data.val_split].usable,
            here,
            lambda what: say(f"{what} …"),
        )
        _print_times(times, here)


def _print_memory(forecast: MemoryForecast, device: str) -> None:
    if forecast.num_invalid:
        say(f"{forecast.num_invalid} draws hold values that do not go together", style="yellow")
    peaks = sorted(draw.peak_gib for draw in forecast.draws)
    middle = peaks[len(peaks) // 2]
    say(
        f"{len(peaks)} draws on {device}: predicted peak {number(peaks[0])} to "
        f"{number(peaks[-1])} GiB, median {number(middle)} GiB"
    )
    if forecast.budget_gib is None:
        say("No memory budget: --memory-budget-gib 8 would set one")
        return
    num_fitting = len(peaks) - len(forecast.over)
    say(
        f"{percent(forecast.share_fitting)} fit the budget of {number(forecast.budget_gib)} GiB "
        f"({num_fitting} of {len(peaks)}); a sweep would not launch the others",
        style="bold green" if num_fitting else "bold red",
    )


def _print_disk(forecast: DiskForecast | None, runs_dir: Path) -> None:
    if forecast is None:
        return
    say(
        f"Disk for checkpoints: {number(forecast.typical_gib)} GiB, up to "
        f"{number(forecast.most_gib)} GiB, with {forecast.num_concurrent} trial(s) at a time and "
        f"the best of {forecast.num_kept} kept"
    )
    if address_of(runs_dir) is not None:
        return
    try:
        warning = check_disk(forecast, runs_dir)
    except UserError as error:
        warning = f"A sweep would be refused: {error}"
    if warning:
        say(warning, style="yellow")


def _print_reasons(forecast: MemoryForecast) -> None:
    if not forecast.over:
        return
    rows = [
        (share.key, share.values, str(share.num_draws), percent(share.share_over))
        for share in forecast.reasons()[:_MAX_REASONS]
    ]
    if rows:
        table("What drives draws over the budget", ("parameter", "value", "draws", "over"), rows)
    _print_draws("The largest that would be dropped", forecast.over)


def _print_draws(title: str, draws: Sequence[Draw]) -> None:
    largest = sorted(draws, key=lambda draw: -draw.peak_gib)[:_MAX_SHOWN]
    rows = [
        (
            number(draw.peak_gib),
            ", ".join(f"{name} {number(gib)}" for name, gib in _main_parts(draw)),
            params_text(draw.params),
        )
        for draw in largest
    ]
    table(title, ("GiB", "mostly", "parameters"), rows)


def _main_parts(draw: Draw) -> list[tuple[str, float]]:
    return sorted(draw.parts.items(), key=lambda part: -part[1])[:2]


def _print_times(times: TimeForecast, device: torch.device) -> None:
    rows = [
        (
            family.family,
            percent(family.share),
            number(1e3 * family.train_s_per_clip, 1),
            number(1e3 * family.val_s_per_clip, 1),
            number(family.tflops_per_clip, 3),
            duration(family.trial_s),
        )
        for family in times.families
    ]
    columns = ("model", "share", "train ms/clip", "val ms/clip", "TFLOP/clip", "mean trial")
    table("Timed on this machine", columns, rows)
    unit = "GPU-hours" if device.type == "cuda" else "worker-hours on this CPU"
    say(
        f"Expected: {times.num_trials} trials x {duration(times.trial_s)} "
        f"= {number(times.device_hours)} {unit}, early stopping included; "
        "waiting for data is not",
        style="bold",
    )
