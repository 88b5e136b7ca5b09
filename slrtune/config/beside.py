"""A thread beside what a block does, which ends with it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def beside(name: str, watch: Callable[[threading.Event], None]) -> Iterator[None]:
    """While active, ``watch(is_over)`` runs in a thread; it must return soon after ``is_over``."""
    is_over = threading.Event()
    thread = threading.Thread(target=watch, args=(is_over,), name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
