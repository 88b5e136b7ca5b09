"""A node of Ray that finds the machine's main memory full when told to; no memory is taken."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CLONE_FS, _CLONE_NEWNS = 0x200, 0x20000  # <sched.h>
_MS_REC, _MS_PRIVATE = 0x4000, 0x40000  # <sys/mount.h>
_MEMINFO = Path("/proc/meminfo")


@contextmanager
def own_mounts() -> Iterator[None]:
    """Processes that are started within see mounts that no other process does.

    Raises:
        OSError: this process may not do that.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def done(code: int) -> None:
        if code != 0:
            raise OSError(ctypes.get_errno(), "no mounts of its own")

    before, folder = os.open("/proc/self/ns/mnt", os.O_RDONLY), Path.cwd()
    done(libc.unshare(_CLONE_NEWNS))
    try:
        done(libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        yield
    finally:
        done(libc.unshare(_CLONE_FS))  # from threads that were started within, and stay there
        done(libc.setns(before, _CLONE_NEWNS))
        os.chdir(folder)  # which that has changed
        os.close(before)


@contextmanager
def full_memory(pid: int) -> Iterator[None]:
    """A process of `own_mounts` reads that next to nothing of the memory is free."""
    lines = [
        line if line.startswith("MemTotal:") else f"{line.partition(':')[0]}: 64 kB"
        for line in _MEMINFO.read_text().splitlines()
    ]
    there = ["nsenter", "--target", f"{pid}", "--mount"]
    with tempfile.NamedTemporaryFile("w") as full:
        full.write("\n".join([*lines, ""]))
        full.flush()
        subprocess.run([*there, "mount", "--bind", full.name, _MEMINFO], check=True)
        try:
            yield
        finally:
            subprocess.run([*there, "umount", _MEMINFO], check=True)
