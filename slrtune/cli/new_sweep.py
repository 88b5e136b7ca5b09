"""The folder of a new sweep: its name, and whether it is free."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slrtune.cli.console import say
from slrtune.cli.folders import run_folder
from slrtune.config.addresses import address_of, shown
from slrtune.config.errors import UserError
from slrtune.config.mirror import mirror_of, telling_of_store
from slrtune.config.search_space import SearchSpace
from slrtune.report.words import in_shell
from slrtune.sweep.at_address import InStep, copy_for_reader
from slrtune.sweep.folder import PLAN_FILE, alone_in_sweep, refusal_of


def default_name(space: SearchSpace) -> str:
    """Search space and time."""
    return f"{space.name}-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def new_folder(runs_dir: Path, name: str) -> Path:
    """Where a new sweep will be; nothing is made yet.

    Raises:
        UserError: the name is taken, or nothing can be written there.
    """
    folder = run_folder(runs_dir, name)
    mirror = mirror_of(folder)
    if mirror is None:
        is_there = folder.exists()
    else:
        with telling_of_store(runs_dir):
            is_there = bool(mirror.files())
            copy_for_reader(folder, PLAN_FILE)
    if is_there:
        raise UserError(_exists(folder))
    return folder


@contextmanager
def made(folder: Path, patience_s: float) -> Iterator[InStep]:
    """Make the sweep's new folder, in which this process is alone."""
    try:
        # A copy of what is no longer at the address may lie there.
        folder.mkdir(parents=True, exist_ok=address_of(folder) is not None)
    except FileExistsError:  # another sweep was quicker
        raise UserError(_exists(folder)) from None
    with alone_in_sweep(folder), InStep(folder, patience_s).held(refusal_of(folder), say) as step:
        yield step


def _exists(folder: Path) -> str:
    if (folder / PLAN_FILE).exists():
        return (
            f"--name: the sweep {shown(folder)} exists already; go on with it by "
            f"`slrtune sweep --resume {in_shell(folder)}`, or choose another name"
        )
    return f"--name: {shown(folder)} exists already; choose another name, or remove it"
