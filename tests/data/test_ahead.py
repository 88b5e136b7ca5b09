from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from slrtune.data.ahead import loaded_ahead


def loader_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "clip-loader"]


def test_items_come_in_order_and_the_thread_ends_with_them() -> None:
    assert list(loaded_ahead(range(20))) == list(range(20))
    assert loader_threads() == []


def test_two_items_are_made_while_one_is_worked_on() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            made.append(number)
            yield number

    ahead = loaded_ahead(items())
    assert next(ahead) == 0
    deadline_s = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]  # two wait in the queue, one for its place in it
    del ahead
    assert loader_threads() == []


def test_an_error_is_raised_where_its_item_would_have_come() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("broken")

    ahead = loaded_ahead(items())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)
    assert loader_threads() == []
