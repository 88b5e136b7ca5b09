"""One process at a time at an address, where no kernel gives locks back.

The holder writes a file there again and again. Whoever wants it watches the file: while it changes,
somebody lives; when it has not for long enough, the holder is gone. Nobody's clock matters. On the
holder's own machine there is nothing to wait for.
"""

from __future__ import annotations

import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slrtune.config.errors import UserError

if TYPE_CHECKING:
    from slrtune.config.mirror import Mirror

LEASE_FILE = "lease.json"
BEAT_S = 5.0
LEASE_S = 30.0
_POLL_S = 1.0
# Two that find nobody at the same time both write; after this long both see who was the last.
_SETTLE_S = 1.0


class LeaseLostError(UserError):
    """Another process has taken over: this one was away for too long."""


class Lease:
    """This process's hold on an address.

    Args:
        mirror: of the address.
        lease_s: after this long without a beat a holder counts as gone.
    """

    def __init__(self, mirror: Mirror, lease_s: float = LEASE_S) -> None:
        self._mirror, self._lease_s = mirror, lease_s
        self._id = uuid.uuid4().hex
        self._beat, self._last_beat_s = 0, 0.0

    def take(self, refusal: str, say: Callable[[str], None]) -> None:
        """Take it; waits where the last holder may be dead.

        Args:
            refusal: the message where another lives; ``{owner}`` in it becomes who.
            say: is told that it waits.

        Raises:
            UserError: another lives.
        """
        found, since_s = self._read(), time.monotonic()
        if found and not _is_dead(found):
            say(
                f"{found.get('owner')} held {self._mirror.address} last: waiting up to "
                f"{self._lease_s:g} s to see whether it still lives"
            )
        while found and not _is_dead(found) and time.monotonic() - since_s < self._lease_s:
            time.sleep(_POLL_S)
            now = self._read()
            if now and now != found:
                raise UserError(refusal.replace("{owner}", str(now.get("owner"))))
            found = now
        self._write()
        time.sleep(_SETTLE_S)
        self._check()

    def renew(self) -> None:
        """Say that this process lives; does nothing where it has just done so.

        Raises:
            LeaseLostError: another process has taken over.
        """
        if time.monotonic() - self._last_beat_s >= BEAT_S:
            self._check()
            self._write()

    def check(self) -> None:
        """Whether it is still held, where that is not certain: before something is written.

        Raises:
            LeaseLostError: another process has taken over.
        """
        if time.monotonic() - self._last_beat_s >= self._lease_s:
            self._check()

    def release(self) -> None:
        """Give it back; it may be another's by now."""
        if self._read().get("id") == self._id:
            self._mirror.delete(LEASE_FILE)

    def _check(self) -> None:
        found = self._read()
        if found.get("id", self._id) != self._id:
            raise LeaseLostError(
                f"{self._mirror.address}: {found.get('owner')} has taken it over from this process"
            )

    def _write(self) -> None:
        self._beat += 1
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        content = {"owner": owner, "id": self._id, "beat": self._beat}
        content |= {"pid": os.getpid(), "processes_of": _processes_of()}
        self._mirror.write(LEASE_FILE, json.dumps(content).encode())
        self._last_beat_s = time.monotonic()

    def _read(self) -> dict[str, object]:
        try:
            found = json.loads(self._mirror.read(LEASE_FILE) or b"{}")
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _processes_of() -> str:
    """Names the kernel and the container whose process numbers these are."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return uuid.uuid4().hex  # unlike any other


def _is_dead(found: dict[str, object]) -> bool:
    """Whether it is certain that the holder is gone: it was a process beside this one."""
    is_beside = found.get("processes_of") == _processes_of()
    return is_beside and not Path(f"/proc/{found.get('pid')}").exists()


def is_leased(copy: Path) -> bool:
    """Whether the lease was renewed lately, by the copy of its file that a reader has taken.

    Stores date their files by their own clock; this machine's may differ by some seconds.
    """
    try:
        return time.time() - copy.stat().st_mtime < 2 * LEASE_S
    except OSError:
        return False
