"""What is where in a sweep's folder. Without Ray: whoever only looks need not wait for it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from slrtune.config.claim import claimed, is_claimed

PLAN_FILE = "sweep.json"
STUDY_FILE = "study.log"
LOCK_FILE = "sweep.lock"
# Whoever makes it asks the sweep to stop.
STOP_FILE = "stop"
TRIAL_FOLDER = "trial_{number:03d}"


def alone_in_sweep(folder: Path) -> AbstractContextManager[None]:
    """This process alone runs the sweep of a folder that exists.

    Raises:
        UserError: another one does.
    """
    rule = "{owner} runs this sweep right now; follow it with `slrtune status"
    stop = f"end it with `slrtune stop {folder.name}`"
    return claimed(folder / LOCK_FILE, f"{folder}: {rule} {folder.name}`, {stop}")


def is_running(folder: Path) -> bool:
    """Whether a living process runs the sweep."""
    return is_claimed(folder / LOCK_FILE)


def trial_folder(folder: Path, number: int) -> Path:
    """A trial's own folder in its sweep's."""
    return folder / TRIAL_FOLDER.format(number=number)
