"""`slrtune results` and `slrtune config`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from slrtune.cli.options import JobAddressOption, RunsOption


def results(
    context: typer.Context,
    sweep: Annotated[str, typer.Argument(help="The sweep's name, or its folder.")],
    top: Annotated[int, typer.Option(min=1, help="Trials to show.")] = 20,
    runs_dir: RunsOption = Path("runs"),
    address: JobAddressOption = None,
) -> None:
    """Show a sweep's leaderboard and its best trial, from its folder."""
    if address is not None:
        from slrtune.cli.on_cluster import run_there

        run_there(context, address, sweep)
        return
    from slrtune.cli.console import say
    from slrtune.cli.folders import sweep_folder
    from slrtune.cli.summary import print_sweep
    from slrtune.sweep.at_address import STATUS_FILES
    from slrtune.sweep.results import read_results, write_best

    found = read_results(sweep_folder("SWEEP", sweep, runs_dir, *STATUS_FILES))
    try:
        # A sweep that was killed has not written them, and one that runs has a better best by now.
        write_best(found)
    except OSError as error:
        say(f"best.yaml and best.pt are left as they are: {error}", style="yellow")
    print_sweep(found, top=top)


def config(
    section: Annotated[
        str, typer.Argument(help="Show this section only, such as training or model.timesformer.")
    ] = "",
) -> None:
    """List every setting of an experiment with its default and meaning."""
    from slrtune.cli.console import say
    from slrtune.config.errors import UserError
    from slrtune.config.experiment import Experiment
    from slrtune.config.validate import known_keys, suggestion

    keys = [key for key in known_keys() if not section or f"{key}.".startswith(f"{section}.")]
    if not keys:
        raise UserError(f"{section} is not a known section or key{suggestion(section)}")
    for key in keys:
        default, meaning = _describe(Experiment(), key)
        say(f"{key}: {default}", style="bold")
        say(f"    {meaning}")


def _describe(settings: Any, key: str) -> tuple[str, str]:
    *parents, name = key.split(".")
    for parent in parents:
        settings = getattr(settings, parent)
    value, info = getattr(settings, name), type(settings).model_fields[name]
    shown = "null" if value is None else str(value)
    return shown, " ".join((info.description or "").split())
