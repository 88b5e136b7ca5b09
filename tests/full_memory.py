"""A machine whose main memory is full, as far as one node of Ray is concerned."""

from __future__ import annotations

import time
from collections.abc import Callable

_GIB = 2**30
_PIECE = 2**28


class FullMemory:
    """Makes the memory monitor of one node of Ray find the machine's memory full when told to.

    Args:
        room_gib: what may be taken beyond what is taken now before that node finds it full.

    Attributes:
        environment: for that node.
    """

    def __init__(self, room_gib: float) -> None:
        from ray._private.utils import get_system_memory, get_used_memory

        self._used = get_used_memory
        self._full = get_used_memory() + int(room_gib * _GIB)
        self._most_pieces = int((room_gib + 1) * _GIB) // _PIECE
        threshold = self._full / get_system_memory()
        self.environment = {"RAY_memory_usage_threshold": f"{threshold:.4f}"}

    def until(self, condition: Callable[[], bool], timeout_s: float = 60.0) -> bool:
        """Take memory until ``condition``, and give it back; whether it came about."""
        ballast: list[bytes] = []
        deadline_s = time.monotonic() + timeout_s
        while not (is_so := condition()) and time.monotonic() < deadline_s:
            if self._used() < self._full + _GIB and len(ballast) < self._most_pieces:
                ballast.append(b"\1" * _PIECE)
            time.sleep(0.1)
        return is_so
