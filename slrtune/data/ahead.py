"""Items made by a thread while the last ones are worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

_NUM_AHEAD = 2
_POLL_S = 0.1


def loaded_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, at most two of them made before they are asked for.

    Pays where making an item leaves the interpreter lock alone, as PyTorch, NumPy and the disk do.
    The thread ends with the iterator, also when that is given up early. What goes wrong while an
    item is made is raised where the item would have come.
    """
    queue: Queue[tuple[Item | None, BaseException | None]] = Queue(_NUM_AHEAD)
    given_up = Event()

    def put(item: Item | None, error: BaseException | None = None) -> None:
        while not given_up.is_set():
            try:
                return queue.put((item, error), timeout=_POLL_S)
            except Full:
                continue

    def make() -> None:
        try:
            for item in items:
                put(item)
                if given_up.is_set():
                    return
        except BaseException as error:
            put(None, error)
        else:
            put(None, StopIteration())

    thread = Thread(target=make, name="clip-loader", daemon=True)
    thread.start()
    try:
        while True:
            item, error = queue.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            assert item is not None
            yield item
            del item  # else it would live on while the next one is waited for
    finally:
        given_up.set()
        while thread.is_alive():
            try:
                queue.get_nowait()
            except Empty:
                thread.join(_POLL_S)
