"""Run the real command line as a user would, and see what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_MARK = "SLRTUNE_TEST_MARK"
_started: list[SlrtuneProcess] = []


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
        self._is_killed = False
        # Of its own, to see what stays there; Ray's sockets are too long for another than /tmp.
        self._temporary = Path(tempfile.mkdtemp(prefix="slr-"))
        _started.append(self)
        environment = {
            **os.environ,
            _MARK: self._mark,
            "HOME": str(folder),
            "TMPDIR": str(self._temporary),
            "RAY_TMPDIR": tempfile.gettempdir(),
            # PyTorch keeps what it has compiled, for all processes to come: nothing left behind.
            "TORCHINDUCTOR_CACHE_DIR": str(folder / "torchinductor"),
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
        self._is_killed = True
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
        """Titles of processes, and temporary files, that are still there some seconds after the
        command ended. One that was killed by force cannot remove its files."""
        deadline_s = time.monotonic() + within_s
        while self.pids() and time.monotonic() < deadline_s:
            time.sleep(0.2)
        titles = [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid in self.pids()
        ]
        is_killed = self._is_killed or self.process.returncode == -signal.SIGKILL
        files = [] if is_killed else sorted(map(str, self._temporary.rglob("*")))
        return titles + files

    def remove(self) -> None:
        """End it by force, and forget its temporary files."""
        self.kill_all()
        self.process.wait()
        shutil.rmtree(self._temporary, ignore_errors=True)


def run_slrtune(arguments: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and output of a command that is expected to end by itself."""
    process = SlrtuneProcess(arguments, folder)
    return process.wait(), process.output


@contextmanager
def nothing_left_behind() -> Iterator[None]:
    """No command that is started in here outlives it, or leaves a temporary file.

    Raises:
        AssertionError: one did. It has been removed.
    """
    del _started[:]
    try:
        yield
        left = {str(process.process.args): process.left_behind() for process in _started}
    finally:
        for process in _started:
            process.remove()
    assert not any(left.values()), left
