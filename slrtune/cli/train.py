"""`slrtune train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from slrtune.cli.options import AddressOption, SetOption


def train(
    experiment: Annotated[
        Path,
        typer.Argument(
            metavar="EXPERIMENT.yaml", help="Such as experiments/fingerspelling.yaml or best.yaml."
        ),
    ],
    overrides: SetOption = None,
    name: Annotated[
        str | None, typer.Option(help="The run's name. Default: the experiment's name.")
    ] = None,
    address: AddressOption = None,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Record the third to fifth step: a table of the costliest operators, and "
            "trace.json.gz in the run's folder for https://ui.perfetto.dev.",
        ),
    ] = False,
) -> None:
    """Train one configuration. The same command again resumes where a run was cut off."""
    from slrtune.cli.run_training import run
    from slrtune.config.overrides import read_overrides
    from slrtune.config.validate import load_experiment

    run(load_experiment(experiment, read_overrides(overrides or [])), name, address, profile)
