"""What is where in a sweep's folder. Without Ray: whoever only looks need not wait for it."""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from pathlib import Path

from slrtune.config.addresses import address_of, shown
from slrtune.config.claim import claimed, is_claimed
from slrtune.config.lease import LEASE_FILE, is_leased

PLAN_FILE = "sweep.json"
STUDY_FILE = "study.log"
TENSORBOARD_FOLDER = "tensorboard"
# Of a single run.
RUN_LOCK_FILE = ".lock"
RECORD_FILE, SUMMARY_FILE = "experiment.json", "summary.json"
LOCK_FILE = "sweep.lock"
# Whoever makes it asks the sweep to stop.
STOP_FILE = "stop"
TRIAL_FOLDER = "trial_{number:03d}"


def alone_in_sweep(folder: Path) -> AbstractContextManager[None]:
    """This process alone runs the sweep of a folder that exists.

    Raises:
        UserError: another one does.
    """
    return claimed(folder / LOCK_FILE, refusal_of(folder))


def refusal_of(folder: Path) -> str:
    """What is said where another process, ``{owner}``, runs the sweep."""
    name = folder.name if address_of(folder) is None else shlex.quote(shown(folder))
    rule = "{owner} runs this sweep right now; follow it with `slrtune status"
    return f"{shown(folder)}: {rule} {name}`, end it with `slrtune stop {name}`"


def is_running(folder: Path) -> bool:
    """Whether a living process runs the sweep, as far as the folder says."""
    return is_claimed(folder / LOCK_FILE) or is_leased(folder / LEASE_FILE)


def trial_folder(folder: Path, number: int) -> Path:
    """A trial's own folder in its sweep's."""
    return folder / TRIAL_FOLDER.format(number=number)
