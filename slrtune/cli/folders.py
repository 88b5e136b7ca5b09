"""Where commands write: refused before any work is done."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from slrtune.config.addresses import address_of, folder_of, masked, shown
from slrtune.config.errors import UserError
from slrtune.config.mirror import mirror_of, telling_of_store
from slrtune.config.paths import absolute

_MAX_NAME_LENGTH = 100
_MAX_NAME_BYTES = 240  # of 255 on most file systems


def run_folder(runs_dir: Path, name: str) -> Path:
    """The absolute folder ``runs_dir/name``; makes ``runs_dir``, but not the folder itself.

    Raises:
        UserError: ``name`` is no plain folder name, or ``runs_dir`` cannot be written to.
    """
    if not name or Path(name).name != name or name.startswith(".") or not name.isprintable():
        raise UserError(
            f"name: must be a plain folder name that does not start with a dot, but is {name!r}; "
            "choose another with --name"
        )
    if len(name) > _MAX_NAME_LENGTH or len(name.encode()) > _MAX_NAME_BYTES:
        raise UserError(
            f"name: must have at most {_MAX_NAME_LENGTH} characters and {_MAX_NAME_BYTES} bytes, "
            f"but {name[:40]!r}… has {len(name)} and {len(name.encode())}; "
            "choose another with --name"
        )
    if address_of(runs_dir) is not None:
        _check_address(runs_dir)
        return runs_dir / name
    parent = absolute(runs_dir).resolve()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise UserError(
            f"runs_dir: must be a folder that can be written to, but {error}; "
            "set runs_dir to another one"
        ) from None
    return parent / name


def _check_address(runs_dir: Path) -> None:
    mirror = mirror_of(runs_dir)
    assert mirror is not None
    probe = f".probe-{os.getpid()}"
    with telling_of_store(runs_dir):
        mirror.write(probe, b"")
        mirror.delete(probe)


def output_file(option: str, path: Path) -> None:
    """Refuse a file that cannot be written.

    Raises:
        UserError: it is a folder, or there is no folder for it.
    """
    if path.is_dir():
        raise UserError(f"{option}: must be a file, but {path} is a folder; add a file name")
    if not path.absolute().parent.is_dir():
        raise UserError(
            f"{option}: must be in a folder that exists, but there is no {path.parent}; make it"
        )


def runs_folder(text: str | Path, option: str = "--runs-dir") -> Path:
    """The folder that an option's text means: of this machine, or the working one of an address.

    Raises:
        UserError: an address that cannot be used.
    """
    try:
        return folder_of(str(text))
    except ValueError as error:
        raise UserError(f"{option}: must be {error}, but is {masked(str(text))}") from None


def known_sweeps(runs_dir: Path) -> str:
    """Which sweeps there are, for a message about one that there is not."""
    from slrtune.sweep.at_address import copy_all_for_reader
    from slrtune.sweep.folder import PLAN_FILE

    copy_all_for_reader(runs_dir)
    names = sorted(plan.parent.name for plan in runs_dir.glob(f"*/{PLAN_FILE}"))
    place = shown(runs_dir)
    return f"in {place} there are {', '.join(names)}" if names else f"{place} holds no sweep"


def sweep_folder(option: str, sweep: str, runs_dir: Path, *files: str) -> Path:
    """The folder of a sweep that is given by its name in ``runs_dir``, or by its folder.

    Where that is at an address, it is copied here first.

    Args:
        option: that names it, for messages.
        sweep: name, folder or address.
        runs_dir: where sweeps are.
        files: of it, which are needed; none = all but checkpoints.

    Raises:
        UserError: the text cannot be a path, or the address cannot be used. Whether there is a
            sweep is for its reader to say.
    """
    if not sweep.strip():
        raise UserError(f"{option}: must be a sweep's name or folder, but is empty; see {runs_dir}")
    from slrtune.sweep.at_address import copy_for_reader
    from slrtune.sweep.folder import PLAN_FILE

    named = runs_folder(sweep, option)
    by_name = runs_dir.expanduser() / named
    try:
        is_folder = (named / PLAN_FILE).exists()
        folder = named if is_folder else by_name
        if address_of(folder) is None:
            return folder.resolve()
        copy_for_reader(folder, *files)
        return folder
    except OSError as error:
        raise UserError(
            f"{option}: {sweep[:100]} cannot be read: {error}; check the path"
        ) from None


def checkpoint_of(named: Path, runs_dir: Path) -> tuple[Path, Path]:
    """The named file or folder, and its checkpoint; a bare name may be that of a run or sweep.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    from slrtune.deploy.trained_model import find_checkpoint

    by_name, place = absolute(runs_dir) / named, absolute(named)
    try:
        if address_of(place) is not None or not place.exists():
            _take_checkpoint(by_name)
            place = by_name if by_name.exists() else place
        return place, find_checkpoint(place)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}; check the path"
        raise UserError(f"{str(named)[:100]}: {rule}") from None


def _take_checkpoint(place: Path) -> None:
    """Copy the best weights of a run, trial or sweep here, from where it has an address."""
    of_file, mirror = mirror_of(place.parent), mirror_of(place)
    if mirror is None or of_file is None:
        return
    with telling_of_store(place):
        if place.suffix == ".pt":
            of_file.take(place.name)
        else:
            mirror.take("best.pt", "checkpoints/best.pt")
