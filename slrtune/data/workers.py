"""Work shared out to processes, so that one clip that crashes a decoder costs one clip.

Processes come from a fork server: a clean process that has imported this package once and has
neither threads nor open readers, so a child is there in milliseconds and cannot hang on a lock
that was held at the fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class WorkerCrash:
    """Stands for the result of an item that killed its process (segfault, out of memory)."""


def process_context() -> BaseContext:
    """How the data package starts processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["slrtune.data.loader", "slrtune.data.pack.build"])
    return context


def available_cpus() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_crash_proof(
    function: Callable[[Item], Result], items: Iterable[Item], num_workers: int
) -> Iterator[Result | WorkerCrash]:
    """``function`` of every item, in order, by ``num_workers`` processes.

    At most two items per worker are under way, so results do not pile up. An exception of
    ``function`` is raised here; a process that dies gives `WorkerCrash` for its item alone.
    """
    waiting = iter(items)
    under_way: deque[tuple[Item, Future[Result]]] = deque()
    pool = _start_pool(num_workers)
    try:
        while True:
            for item in waiting:
                under_way.append((item, _submit(pool, function, item)))
                if len(under_way) >= 2 * num_workers:
                    break
            if not under_way:
                return
            item, future = under_way.popleft()
            try:
                yield future.result()
            except BrokenProcessPool:
                # nobody knows whose item it was: each suspect is tried again in its own process
                suspects = [item, *(other for other, _ in under_way)]
                under_way.clear()
                for suspect in suspects:
                    yield _run_alone(function, suspect)
                pool.shutdown(cancel_futures=True)
                pool = _start_pool(num_workers)
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], item: Item
) -> Future[Result]:
    try:
        return pool.submit(function, item)
    except BrokenProcessPool as error:
        failed: Future[Result] = Future()
        failed.set_exception(error)
        return failed


def _run_alone(function: Callable[[Item], Result], item: Item) -> Result | WorkerCrash:
    with _start_pool(1) as pool:
        try:
            return pool.submit(function, item).result()
        except BrokenProcessPool:
            return WorkerCrash()


def _start_pool(num_workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(num_workers, process_context(), initializer=_settle_in)


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
