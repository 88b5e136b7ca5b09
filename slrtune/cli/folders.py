"""Where commands write: refused before any work is done."""

from __future__ import annotations

import tempfile
from pathlib import Path

from slrtune.config.errors import UserError
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


def known_sweeps(runs_dir: Path) -> str:
    """Which sweeps there are, for a message about one that there is not."""
    from slrtune.sweep.folder import PLAN_FILE

    names = sorted(plan.parent.name for plan in runs_dir.glob(f"*/{PLAN_FILE}"))
    return f"in {runs_dir} there are {', '.join(names)}" if names else f"{runs_dir} holds no sweep"


def sweep_folder(option: str, sweep: str, runs_dir: Path) -> Path:
    """The folder of a sweep that is given by its name in ``runs_dir``, or by its folder.

    Raises:
        UserError: the text cannot be a path. Whether there is a sweep is for its reader to say.
    """
    if not sweep.strip():
        raise UserError(f"{option}: must be a sweep's name or folder, but is empty; see {runs_dir}")
    from slrtune.sweep.folder import PLAN_FILE

    by_name = runs_dir.expanduser() / sweep
    try:
        is_folder = (Path(sweep) / PLAN_FILE).exists()
        return (Path(sweep) if is_folder else by_name).resolve()
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

    by_name = absolute(runs_dir) / named
    try:
        place = by_name if not absolute(named).exists() and by_name.exists() else absolute(named)
        return place, find_checkpoint(place)
    except OSError as error:
        rule = f"cannot be read: {error.strerror}; check the path"
        raise UserError(f"{str(named)[:100]}: {rule}") from None
