"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting, such as --set training.max_epochs=20. Repeatable; "
        "`slrtune config` lists all keys.",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="Ray cluster to use: `auto` or host:port. Default: this machine alone."),
]
SweepAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Ray cluster to use: `auto` or host:port from one of its nodes, or its dashboard, "
        "http://host:8265, to run there as a Ray job. Default: this machine alone."
    ),
]
JobAddressOption = Annotated[
    str | None,
    typer.Option(
        help="Dashboard of the Ray cluster that the sweep runs on, http://host:8265. "
        "Default: this machine."
    ),
]


def folder_option(text: str | Path) -> Path:
    """A folder or an address on the command line, as a folder of this machine."""
    from slrtune.cli.folders import runs_folder

    return runs_folder(text)


RunsOption = Annotated[
    Path,
    typer.Option(
        "--runs-dir",
        parser=folder_option,
        metavar="FOLDER",
        help="Where runs and sweeps are kept: a folder, or an address such as s3://bucket/runs.",
    ),
]


def shipped(folder: str, name: str) -> Path:
    """A file that ships with slrtune: from the current folder, the checkout, or the wheel."""
    package = Path(__file__).resolve().parent.parent
    places = [Path(folder), package.parent / folder, package / "shipped" / folder]
    return next((p / name for p in places if (p / name).exists()), places[0] / name)
