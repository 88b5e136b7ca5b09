"""One process at a time: locks that the kernel gives back when their holder dies, however."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from slrtune.config.errors import UserError

_logger = logging.getLogger(__name__)
_POLL_S = 0.2
# A reader that looks whether somebody holds the lock holds it itself, for a moment.
_LEAST_WAIT_S = 1.0
_NO_LOCKS_HERE = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


@contextlib.contextmanager
def claimed(lock_file: Path, refusal: str, wait_s: float = _LEAST_WAIT_S) -> Iterator[None]:
    """This process alone, of all that see the folder, holds ``lock_file``.

    Where the file system knows no locks (some NFS servers), nobody is kept out.

    Args:
        lock_file: made where it is not there; says who holds it.
        refusal: the message where another holds it; ``{owner}`` in it becomes who.
        wait_s: how long to wait for the other to end.

    Raises:
        UserError: another process holds it, or its folder cannot be written to.
    """
    try:
        lock = lock_file.open("a+", encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"{lock_file.parent}: must be a folder that can be written to, but {error}; choose "
            "another"
        ) from None
    with lock:
        if not _wait_for(lock, wait_s):
            raise UserError(refusal.replace("{owner}", owner_of(lock_file) or "another process"))
        with contextlib.suppress(OSError):  # a full disk: who holds it is only for messages
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
        yield


def is_claimed(lock_file: Path) -> bool:
    """Whether a living process holds it."""
    try:
        with lock_file.open(encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        pass  # not there, or no locks here
    return False


def owner_of(lock_file: Path) -> str:
    """Who holds it, or held it last; empty = nobody ever did."""
    try:
        return lock_file.read_text(encoding="utf-8")
    except OSError:
        return ""


def _wait_for(lock: TextIO, wait_s: float) -> bool:
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)
        except OSError as error:
            if error.errno not in _NO_LOCKS_HERE:
                raise
            _logger.warning("%s cannot be locked: %s", lock.name, error)
            return True
