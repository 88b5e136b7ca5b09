"""A sweep's folder at an address: what a reader copies, and how its driver keeps it in step.

The address is the truth. Whoever starts or reads copies from there first, and the driver puts there
what it writes here:

- the study before anything that depends on it goes on: a trial begins, or trains another epoch,
  only when what led to it is at the address. So the study there is never older than a checkpoint;
- everything else within seconds, and at the end.

Checkpoints are the workers' (`training.checkpoint`): they do not pass through the driver.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from slrtune.config.addresses import shown
from slrtune.config.beside import beside
from slrtune.config.claim import claimed, is_claimed
from slrtune.config.errors import UserError
from slrtune.config.lease import LEASE_FILE, Lease, LeaseLostError
from slrtune.config.mirror import Mirror, mirror_of, telling_of_store
from slrtune.config.patience import StorageError, patiently
from slrtune.sweep.folder import (
    LOCK_FILE,
    PLAN_FILE,
    RECORD_FILE,
    RUN_LOCK_FILE,
    STOP_FILE,
    STUDY_FILE,
    SUMMARY_FILE,
    TENSORBOARD_FOLDER,
)

_logger = logging.getLogger(__name__)
STATUS_FILES = (PLAN_FILE, STUDY_FILE, LEASE_FILE)
_COPY_LOCK = "copy.lock"
_MAX_WAIT_S = 600.0  # for another reader that copies much
_POLL_S = 2.0
BEST_FILE = "best.pt"
_FILES = {
    PLAN_FILE, STUDY_FILE, f"{STUDY_FILE}.torn", RECORD_FILE, SUMMARY_FILE, "best.yaml",
    "sweep.log", "train.log", "error.txt",
}  # fmt: skip
_TAKEN_OVER = (
    "another process has taken it over, after this one could not be heard of; this one has ended "
    "and wrote nothing more there"
)


def _is_of_driver(name: str) -> bool:
    """Whether the driver writes it, and whoever reads the sweep may need it."""
    top, *below = name.split("/")
    if not below:
        return top in _FILES
    return top == TENSORBOARD_FOLDER or (top.startswith("trial_") and below == ["error.txt"])


def _is_of_rest(name: str) -> bool:
    return _is_of_driver(name) and name != STUDY_FILE


def copy_for_reader(folder: Path, *files: str) -> None:
    """Make the working folder what is at its address; nothing, where it has none.

    Where a process of this machine writes in it, it is as new as can be.

    Args:
        folder: of a sweep or run; need not be there.
        files: what is needed; none = everything but checkpoints.

    Raises:
        UserError: the address cannot be used.
    """
    mirror = mirror_of(folder)
    if mirror is None:
        return
    with telling_of_store(folder):
        if not folder.exists() and not mirror.find(PLAN_FILE, RECORD_FILE):
            return  # nothing is made for a name that was misspelt
        folder.mkdir(parents=True, exist_ok=True)
        with claimed(folder / _COPY_LOCK, f"{folder}: {{owner}} copies it", _MAX_WAIT_S):
            if not any(is_claimed(folder / name) for name in (LOCK_FILE, RUN_LOCK_FILE)):
                _copy(mirror, *files)


def _copy(mirror: Mirror, *files: str) -> None:
    if files:
        mirror.take(*files)
        return
    mirror.take_all(_is_of_driver)
    mirror.take(LEASE_FILE)
    if (mirror.local / BEST_FILE).exists():
        mirror.take(BEST_FILE)  # that of another sweep of this name, or of an earlier best


def has_checkpoints(folder: Path) -> bool:
    """Whether a run has trained an epoch: workers leave checkpoints in its folder or address."""
    if (mirror := mirror_of(folder / "checkpoints")) is not None:
        with telling_of_store(folder):
            return bool(mirror.files())
    return any((folder / "checkpoints").glob("*.pt"))


def copy_all_for_reader(runs_dir: Path) -> None:
    """What `status` needs of every sweep at an address."""
    mirror = mirror_of(runs_dir)
    if mirror is None:
        return
    with telling_of_store(runs_dir):
        here = {plan.parent.name for plan in runs_dir.glob(f"*/{PLAN_FILE}")}
        for name in sorted({*mirror.folders(), *here}):
            copy_for_reader(runs_dir / name, *STATUS_FILES)


class InStep:
    """The driver's side of an address; of a folder that is nothing but a folder it does nothing.

    Args:
        folder: the working folder.
        patience_s: how long to wait for a store that is away.
    """

    def __init__(self, folder: Path, patience_s: float) -> None:
        self._folder, self._patience_s = folder, patience_s
        self._mirror = mirror_of(folder)
        self._lease = None if self._mirror is None else Lease(self._mirror)
        self._is_lost = self._is_away = False
        # The study is sent from Tune's loop, the rest from a thread: neither waits for the other.
        self._study_lock, self._rest_lock = threading.Lock(), threading.Lock()

    def keep_study(self) -> None:
        """Nothing goes on before the study is at the address.

        Raises:
            StorageError: the store was away for too long, or another driver has taken over.
        """
        if self._mirror is None:
            return
        try:
            patiently(self._put_study, self._mirror.address, self._patience_s)
        except StorageError:
            self._is_away = True
            raise

    def keep_rest(self) -> None:
        """Put there what has changed, but for the study.

        Raises:
            OSError: the store is away.
            LeaseLostError: another driver has taken over.
        """
        if self._mirror is None or self._lease is None:
            return
        with self._rest_lock:
            for name in self._mirror.local_files(_is_of_rest):
                self._lease.renew()
                with contextlib.suppress(FileNotFoundError):  # it was replaced
                    self._mirror.upload_changed(name)
            # A working folder that somebody cleared away is no wish to clear the address.
            if any((self._folder / name).exists() for name in (PLAN_FILE, RECORD_FILE)):
                self._mirror.delete_gone(_is_of_rest)

    def keep_best(self, checkpoint: str) -> None:
        """Make a trial's checkpoint, by its name in the folder, the sweep's; it is not copied here.

        Raises:
            OSError: the store is away, or does not copy so large a file.
        """
        if self._mirror is not None and self._mirror.find(checkpoint):
            self._mirror.copy(checkpoint, BEST_FILE)

    def _put_study(self) -> None:
        assert self._mirror is not None and self._lease is not None
        try:
            self._lease.check()
        except LeaseLostError as error:
            self._is_lost = True
            raise StorageError(str(error)) from error
        with self._study_lock:
            self._mirror.upload_changed(STUDY_FILE)

    def watch(self, is_over: threading.Event) -> None:
        """In a thread: say that this driver lives, send what changed, look for `slrtune stop`."""
        assert self._mirror is not None and self._lease is not None
        while not is_over.wait(_POLL_S):
            try:
                self._lease.renew()
                if self._mirror.find(STOP_FILE):
                    self._mirror.delete(STOP_FILE)
                    (self._folder / STOP_FILE).touch()
                self.keep_rest()
            except LeaseLostError as error:
                _logger.error("%s; this one ends", error)
                self._is_lost = True
                os.kill(os.getpid(), signal.SIGINT)
                return
            except OSError as error:
                _logger.warning("%s: %s; trying again", self._mirror.address, error.strerror)
            except Exception:  # without this thread, the driver would be taken for dead
                _logger.exception("%s; trying again", self._mirror.address)

    @contextlib.contextmanager
    def held(self, refusal: str, say: Callable[[str], None] = _logger.warning) -> Iterator[InStep]:
        """While active, the address is this process's own and is kept in step with the folder.

        At the beginning the folder becomes what is at the address. At the end, however it comes,
        the address becomes what is in the folder.

        Args:
            refusal: the message where another process holds it; ``{owner}`` becomes who.
            say: is told what it waits for.

        Raises:
            UserError: another holds it, or it cannot be used.
        """
        if self._mirror is None or self._lease is None:
            yield self
            return
        with telling_of_store(self._folder):
            self._lease.take(refusal, say)
            with claimed(self._folder / _COPY_LOCK, "{owner} copies", _MAX_WAIT_S):
                self._mirror.take_all(_is_of_driver)
            self._mirror.delete(STOP_FILE)  # to an earlier start
        try:
            with beside("in-step", self.watch):
                yield self
        finally:
            self._let_go()

    def _let_go(self) -> None:
        assert self._mirror is not None and self._lease is not None
        if self._is_lost:
            raise UserError(f"{shown(self._folder)}: {_TAKEN_OVER}")
        patience_s = 0.0 if self._is_away else self._patience_s  # once is enough

        def keep_all() -> None:
            self._put_study()
            self.keep_rest()

        try:
            patiently(keep_all, self._mirror.address, patience_s)
            patiently(self._lease.release, self._mirror.address, patience_s)
        except (StorageError, LeaseLostError) as error:
            raise UserError(
                f"runs_dir: {error}; the last that was written is only in {self._folder}: when the "
                f"store is back, `slrtune sweep --resume {shown(self._folder)}` goes on from what "
                "arrived there"
            ) from None
