"""Work shared out to processes, so that one clip that crashes or hangs a decoder costs one clip.

Processes come from a fork server: a clean process that has imported this package once and has
neither threads nor open readers, so a child is there in milliseconds and cannot hang on a lock
that was held at the fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext
from typing import Any, Generic, TypeVar

import torch

MAX_CLIP_S = 300.0
"""A clip on which a decoder works longer counts as hung. Seconds are usual, so this is generous:
an hour of video that must be decoded whole to be counted, from a slow disk, still passes."""

_TICK_S = 0.5
_GRACE_S = 5.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class WorkerCrash:
    """Stands for the result of an item that took its process with it.

    Attributes:
        reason: one phrase for a person: a crash (segfault, out of memory), or too long a time.
    """

    reason: str


def process_context() -> ForkServerContext:
    """How the data package starts processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["slrtune.data.loader", "slrtune.data.pack.build"])
    return context


def available_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_crash_proof(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    num_workers: int,
    *,
    max_item_s: float | None = None,
) -> Iterator[Result | WorkerCrash]:
    """``function`` of every item, in order, by ``num_workers`` processes.

    At most two items per worker are under way or wait to be yielded, so results do not pile up. An
    exception of ``function`` is raised here. A process that dies, also when tried again with
    nothing beside it (for want of memory?), gives `WorkerCrash` for its item alone; so does one
    that gives no sign of life for ``max_item_s``, which is killed.

    Args:
        max_item_s: seconds from the beginning of an item, or from the last `sign_of_life` within
            ``function``. The start of a process does not count. None = wait for ever.
    """
    crew = _Crew(function, items, num_workers, max_item_s)
    turn = 0
    try:
        while True:
            crew.listen(may_wait=turn not in crew.finished)
            crew.assign()
            if turn in crew.finished:
                yield crew.finished.pop(turn).result()
                turn += 1
            elif crew.is_done:
                return
    finally:
        crew.dismiss()


def sign_of_life() -> None:
    """To be called within an item that is made of parts: the time limit begins anew."""
    if _watcher is not None:
        _watcher.send(None)


@dataclass(frozen=True)
class _Answer:
    value: Any
    error: Exception | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


class _Crew(Generic[Item, Result]):
    """The processes, and which items are where.

    Attributes:
        finished: answers by the item's number, until they are taken out.
    """

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterable[Item],
        num_workers: int,
        max_item_s: float | None,
    ) -> None:
        self._function, self._num_workers, self._max_item_s = function, num_workers, max_item_s
        self._waiting = enumerate(items)
        self._suspects: deque[tuple[int, Item]] = deque()
        self._idle: list[_Worker] = []
        self._busy: dict[_Worker, tuple[int, Item]] = {}
        self._is_retrying = False
        self.finished: dict[int, _Answer] = {}

    @property
    def is_done(self) -> bool:
        """Whether nothing more will finish, asked after `assign`."""
        return not self._busy

    def assign(self) -> None:
        """Begin as many items as may be under way. One that crashed is repeated alone."""
        if self._busy and (self._suspects or self._is_retrying):
            return
        self._is_retrying = bool(self._suspects)
        if self._is_retrying:
            self._begin(_Worker(self._function), *self._suspects.popleft())
            return
        num_under_way = len(self._busy) + len(self.finished)
        room = min(self._num_workers - len(self._busy), 2 * self._num_workers - num_under_way)
        for number, item in islice(self._waiting, room):
            self._begin(self._idle.pop() if self._idle else _Worker(self._function), number, item)

    def listen(self, *, may_wait: bool) -> None:
        """Take in what the processes say; give up those that have been silent for too long."""
        if not self._busy:
            return
        before = time.monotonic()
        speaking = wait([worker.connection for worker in self._busy], _TICK_S if may_wait else 0)
        # in ticks, so that hours in which we were stopped ourselves (Ctrl-Z) count as nothing
        waited_s = min(time.monotonic() - before, _TICK_S)
        for worker in list(self._busy):
            if worker.connection in speaking:
                self._hear(worker)
                continue
            worker.silent_s += waited_s
            if self._max_item_s is not None and worker.silent_s > self._max_item_s:
                worker.kill()
                self._finish(
                    worker, WorkerCrash(f"decoder took longer than {self._max_item_s:g} s")
                )

    def dismiss(self) -> None:
        """End all processes, whatever they are at."""
        for worker in (*self._idle, *self._busy):
            worker.kill()

    def _begin(self, worker: _Worker, number: int, item: Item) -> None:
        self._busy[worker] = (number, item)
        worker.begin(item)

    def _hear(self, worker: _Worker) -> None:
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):  # it ended, perhaps within a message
            worker.kill()
            if self._is_retrying:
                self._finish(worker, WorkerCrash("decoder crashed"))
            else:
                self._suspects.append(self._busy.pop(worker))
            return
        if message is None:
            worker.silent_s = 0.0
        else:
            self._finish(worker, message)
            self._idle.append(worker)

    def _finish(self, worker: _Worker, outcome: _Answer | WorkerCrash) -> None:
        number, _ = self._busy.pop(worker)
        self.finished[number] = outcome if isinstance(outcome, _Answer) else _Answer(outcome)


class _Worker:
    """A process that works on one item after the other, seen from outside.

    Attributes:
        silent_s: seconds since its last sign of life; minus infinity before the first one.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        context = process_context()
        self.connection, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, function), daemon=True)
        self._process.start()
        far_end.close()
        self.silent_s = 0.0

    def begin(self, item: object) -> None:
        self.silent_s = -float("inf")
        with suppress(ConnectionError):  # died while idle: what is heard next from it is its end
            self.connection.send(item)

    def kill(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join(_GRACE_S)  # one that a dead file server holds dies later


_watcher: Connection | None = None
"""Within a worker: where its signs of life go."""


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    global _watcher
    _settle_in()
    _watcher = connection
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        sign_of_life()
        try:
            connection.send(_Answer(function(item)))
        except Exception as error:
            where = traceback.format_exc()
            error.add_note(where)
            try:
                connection.send(_Answer(None, error))
            except Exception:  # it does not pickle
                connection.send(_Answer(None, RuntimeError(where)))


def _settle_in() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    # decoders write to stderr of their own accord; errors travel as exceptions
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # a killed parent leaves pool workers waiting for work for ever
        os._exit(1)
