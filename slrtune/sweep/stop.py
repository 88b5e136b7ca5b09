"""Stopping a sweep from another process, on any machine that sees its folder."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from slrtune.config.beside import beside
from slrtune.config.lease import LEASE_FILE
from slrtune.config.mirror import mirror_of, telling_of_store
from slrtune.sweep.at_address import copy_for_reader
from slrtune.sweep.folder import STOP_FILE, is_running

_POLL_S = 0.5


def ask_to_stop(folder: Path, wait_s: float) -> bool:
    """Ask a running sweep to stop as by Ctrl-C.

    Args:
        folder: the sweep's.
        wait_s: how long to wait for it.

    Returns:
        Whether it has ended.
    """
    mirror = mirror_of(folder)
    (folder / STOP_FILE).touch()
    with telling_of_store(folder):
        if mirror is not None:
            mirror.upload(STOP_FILE)
        deadline_s = time.monotonic() + wait_s
        while is_running(folder):
            if time.monotonic() > deadline_s:
                return False
            time.sleep(_POLL_S)
            copy_for_reader(folder, LEASE_FILE)
        # of one that ended before it looked
        (folder / STOP_FILE).unlink(missing_ok=True)
        if mirror is not None:
            mirror.delete(STOP_FILE)
    return True


@contextlib.contextmanager
def stopping_when_asked(folder: Path) -> Iterator[None]:
    """This process gets one Ctrl-C when somebody asks its sweep to stop."""
    _listen_to_ctrl_c()
    request = folder / STOP_FILE
    request.unlink(missing_ok=True)  # to an earlier start

    def watch(is_over: threading.Event) -> None:
        while not is_over.wait(_POLL_S):
            if request.exists():
                request.unlink(missing_ok=True)
                os.kill(os.getpid(), signal.SIGINT)
                return

    with beside("stop", watch):
        yield


def _listen_to_ctrl_c() -> None:
    """A shell lets what it starts in the background (`nohup … &`) ignore it."""
    is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if is_ignored and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
