"""`slrtune tensorboard` and `slrtune report`: a sweep's trials side by side."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from slrtune.cli.options import RunsOption

SweepArgument = Annotated[str, typer.Argument(help="The sweep's name, or its folder.")]


def tensorboard(
    sweep: SweepArgument,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Default: 6006, or the next free one.")
    ] = None,
    runs_dir: RunsOption = Path("runs"),
) -> None:
    """Start TensorBoard on a sweep, on this machine only. Ctrl-C ends it.

    HParams: a row per trial, also of those that failed or did not fit, with parameters, outcome and
    best figures; its parallel coordinates. Time series: the curves of all trials. Images: confusion
    matrix and sample clips of each trial's best epoch.
    """
    from slrtune.cli.folders import sweep_folder
    from slrtune.config.errors import UserError
    from slrtune.sweep.folder import TENSORBOARD_FOLDER

    folder = sweep_folder("SWEEP", sweep, runs_dir) / TENSORBOARD_FOLDER
    if not folder.is_dir():
        raise UserError(
            f"SWEEP: must be a sweep with TensorBoard runs, but there is no {folder}; "
            "name one that `slrtune sweep` wrote"
        )
    where = ["--logdir", str(folder), "--host", "127.0.0.1"]
    where += [] if port is None else ["--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", "tensorboard.main", *where])


def report(
    sweep: SweepArgument,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write. Default: report/ in the sweep's folder.")
    ] = None,
    runs_dir: RunsOption = Path("runs"),
) -> None:
    """Write a sweep as one HTML page that needs no network, and its figures as PNGs.

    Leaderboard, learning curves with ASHA's rungs, accuracy against memory, which parameters
    matter, parallel coordinates, the timeline of trials on nodes, failures and their reasons, and
    how to train the best trial again. The sweep may still run, or be broken: it is only read.
    """
    from slrtune.cli.console import say
    from slrtune.cli.folders import sweep_folder
    from slrtune.config.errors import UserError
    from slrtune.config.paths import absolute
    from slrtune.report.sweep_page import REPORT_FOLDER, write_report

    folder = sweep_folder("SWEEP", sweep, runs_dir)
    place = folder / REPORT_FOLDER if out is None else absolute(out)
    try:
        written = write_report(folder, place)
    except OSError as error:
        raise UserError(
            f"--out: must be a folder that can be written to, but {error}; name another one"
        ) from None
    say(f"{written[0]}: open it in a browser", style="bold green")
    for file in written[1:]:
        say(f"  {file}")
