"""`slrtune plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slrtune.cli.options import SetOption
from slrtune.cli.sweep import BudgetOption, ExperimentOption, SpaceArgument, TrialsOption


def plan(
    search_space: SpaceArgument = None,
    experiment: ExperimentOption = None,
    trials: TrialsOption = None,
    overrides: SetOption = None,
    gpu: Annotated[
        str | None,
        typer.Option(
            help="GPU type to predict for, such as H100, A100-80GB or T4, or `cuda` or `cpu`. "
            "Default: this machine's GPU, else its CPU."
        ),
    ] = None,
    memory_budget_gib: BudgetOption = None,
    draws: Annotated[
        int, typer.Option(min=10, max=10_000, help="Configurations to draw from the space.")
    ] = 200,
    probe: Annotated[
        bool, typer.Option(help="Time a few real steps on this machine, to forecast hours.")
    ] = True,
    out: Annotated[
        Path, typer.Option(help="Heat map of memory over micro-batch, chunks and depth (PNG).")
    ] = Path("plan.png"),
) -> None:
    """Say what a sweep would take and drop, before it starts: memory, time, and why.

    Nothing is trained. Memory is predicted by tracing the real training step without data, so
    no GPU is needed: `slrtune plan --gpu A100` answers on a laptop.
    """
    from slrtune.cli.folders import output_file
    from slrtune.cli.options import shipped
    from slrtune.cli.run_plan import run
    from slrtune.config.overrides import read_overrides
    from slrtune.config.search_space_file import load_search_space

    output_file("--out", out)
    of_trials = [] if trials is None else [f"sweep.max_trials={trials}"]
    of_budget = (
        [] if memory_budget_gib is None else [f"resources.memory_budget_gib={memory_budget_gib}"]
    )
    values = read_overrides([*(overrides or []), *of_trials, *of_budget])
    path = search_space or shipped("search_spaces", "fingerspelling.yaml")
    run(load_search_space(path, experiment, values), gpu, draws, probe, out)
