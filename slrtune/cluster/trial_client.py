"""A trial's line to the worker groups.

Every trial of a sweep has a process of its own on the head node: what it imports is there as often
as trials run at a time. So nothing here, and nothing that is imported here, imports PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ray

from slrtune.cluster.task import Event, Task

_POLL_S = 1.0


class TrialClient:
    """One trial's view of the worker groups: submit, follow, stop.

    Args:
        exchange: handle of the exchange actor.
        task: the trial's work.
    """

    def __init__(self, exchange: Any, task: Task) -> None:
        self._exchange = exchange
        self._task_id = task.task_id
        ray.get(exchange.submit.remote(task))

    def next_event(self) -> Event:
        """Block until something happened. Asking again after an epoch is the decision to go on."""
        while True:
            event: Event = ray.get(self._exchange.next_event.remote(self._task_id, _POLL_S))
            if event.kind != "waiting":
                return event

    def events(self) -> Iterator[Event]:
        """All events up to the last one, ``finished`` or ``failed``."""
        while True:
            event = self.next_event()
            yield event
            if event.kind in ("finished", "failed"):
                return

    def stop(self) -> None:
        """Stop the trial at its next report; a finished trial is left alone."""
        ray.get(self._exchange.stop.remote(self._task_id))
