"""Run the real command line as a user would, and see what it leaves behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

_MARK = "SLRTUNE_TEST_MARK"


class SlrtuneProcess:
    """A running `slrtune` command. All processes that come of it carry a mark of their own.

    Args:
        arguments: of the command.
        folder: working folder; its HOME is private, so that no token of the user is touched.
        errors: where its standard error stream goes; None = to its output.
    """

    def __init__(self, arguments: list[str], folder: Path, errors: Path | None = None) -> None:
        self._mark = uuid.uuid4().hex
        self._output = folder / f"output-{self._mark}.txt"
        environment = {
            **os.environ,
            _MARK: self._mark,
            "HOME": str(folder),
            "OMP_NUM_THREADS": "1",
            "PYTHONUNBUFFERED": "1",
        }
        with self._output.open("w") as output, ExitStack() as opened:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "slrtune.cli.main", *arguments],
                cwd=folder,
                env=environment,
                stdout=output,
                stderr=opened.enter_context(errors.open("w")) if errors else subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._output.read_text()

    def wait(self, timeout_s: float = 240.0) -> int:
        """Its exit code; kills it after ``timeout_s``."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill_all()
            raise AssertionError(f"not done after {timeout_s} s:\n{self.output}") from None

    def wait_for(self, condition: Callable[[], object], timeout_s: float = 120.0) -> None:
        """Wait until ``condition`` holds while the command runs."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"it ended early:\n{self.output}"
            assert time.monotonic() < deadline_s, f"waited {timeout_s} s in vain:\n{self.output}"
            time.sleep(0.05)

    def kill_all(self) -> None:
        """kill -9 of the command and of all that came of it."""
        for pid in self.pids():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                continue

    def pids(self, name: str = "") -> list[int]:
        """Living processes of this command; only those whose title has ``name``."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                environment = (folder / "environ").read_bytes()
                title = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                is_zombie = ") Z " in (folder / "stat").read_text()
            except (OSError, UnicodeDecodeError):
                continue
            if self._mark.encode() in environment and name in title and not is_zombie:
                found.append(int(folder.name))
        return found

    def left_behind(self, within_s: float = 15.0) -> list[str]:
        """Titles of processes that are still there some seconds after the command ended."""
        deadline_s = time.monotonic() + within_s
        while self.pids() and time.monotonic() < deadline_s:
            time.sleep(0.2)
        return [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid in self.pids()
        ]


def run_slrtune(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a command that is expected to end by itself."""
    process = SlrtuneProcess(arguments, folder)
    return process.wait(), process.output
