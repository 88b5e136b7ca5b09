"""The meeting place of trials and warm worker groups.

A *trial* (a Tune actor, or the driver of ``slrtune train``) submits a `Task` and then asks for its
events; a *worker group* takes the next task, reports every epoch and waits for the answer. Both
sides may die: a group that comes back gets its unfinished task again, a trial that no longer asks
is stopped. This class is plain asyncio; `worker_groups` runs it as a Ray actor.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

EventKind = Literal["started", "epoch", "finished", "failed", "waiting"]

# A trial asks about once a second; one that has been silent for this long is dead.
SILENT_TRIAL_S = 120.0


@dataclass(frozen=True)
class Task:
    """One trial's work.

    Attributes:
        task_id: unique name of the trial.
        experiment: the resolved configuration as plain data.
        folder: the trial's own folder, on storage that every node sees.
        max_failures: how often a group that died may take it up again.
    """

    task_id: str
    experiment: dict[str, Any]
    folder: str
    max_failures: int = 2


@dataclass(frozen=True)
class Event:
    """What happened to a task.

    Attributes:
        kind: ``started`` (payload: num_failures so far), ``epoch`` (metrics), ``finished``
            (summary), ``failed`` (error_type, message, traceback) or ``waiting`` (nothing yet).
        payload: plain data.
    """

    kind: EventKind
    payload: dict[str, Any] = field(default_factory=dict)


@dataclass
class _TaskState:
    task: Task
    last_asked_s: float
    num_failures: int = 0
    last_epoch: float = 0.0
    awaits_decision: bool = False
    is_stopped: bool = False
    is_over: bool = False
    events: deque[Event] = field(default_factory=deque)


@dataclass
class _GroupState:
    """One life of a worker group: a restarted group has another ``life``."""

    life: str
    pids: dict[int, int] = field(default_factory=dict)
    current: _TaskState | None = None


class Exchange:
    """Matches tasks with groups and carries reports one way, decisions the other."""

    def __init__(self) -> None:
        self._tasks: dict[str, _TaskState] = {}
        self._queue: deque[_TaskState] = deque()
        self._groups: dict[int, _GroupState] = {}
        self._lost_groups: dict[int, str] = {}
        self._is_closed = False
        self._changed = asyncio.Condition()

    # --- the trial's side

    async def submit(self, task: Task) -> None:
        """Queue a task for the next idle group."""
        state = _TaskState(task, time.monotonic())
        self._tasks[task.task_id] = state
        self._queue.append(state)
        await self._notify()

    async def next_event(self, task_id: str, timeout_s: float) -> Event:
        """The task's next event, or ``waiting`` after ``timeout_s``.

        Asking again after an ``epoch`` event is the decision to go on.
        """
        state = self._tasks[task_id]
        state.last_asked_s = time.monotonic()
        if state.awaits_decision and not state.events:
            state.awaits_decision = False
            await self._notify()
        await self._wait_for(lambda: bool(state.events), timeout_s)
        if not state.events:
            return Event("waiting")
        event = state.events.popleft()
        if event.kind in ("finished", "failed"):
            del self._tasks[task_id]
        return event

    async def stop(self, task_id: str) -> None:
        """Stop a task at its next report; an unknown or finished task is left alone."""
        state = self._tasks.pop(task_id, None)
        if state is not None:
            state.is_stopped = True
            if state in self._queue:
                self._queue.remove(state)
            await self._notify()

    # --- the group's side

    async def join(self, group_id: int, life: str, rank: int, pid: int) -> None:
        """A worker process of a new or restarted group is ready.

        A task that the group's last life left unfinished is queued first, for any group, unless
        it has failed too often.
        """
        group = self._groups.get(group_id)
        if group is None or group.life != life:
            if group is not None and group.current is not None:
                await self._requeue(group.current)
            group = self._groups[group_id] = _GroupState(life)
        group.pids[rank] = pid

    async def take(self, group_id: int, rank: int, previous: str | None) -> Task | None:
        """The group's task after ``previous``; None when there is no more work.

        Rank 0 draws from the queue; the other ranks wait for what rank 0 drew.
        """
        group = self._groups[group_id]

        def drawn() -> bool:
            if self._is_closed:
                return True
            if rank == 0:
                return bool(self._queue)
            current = group.current
            return current is not None and current.task.task_id != previous

        await self._wait_for(drawn, None)
        if self._is_closed:
            return None
        if rank == 0:
            state = group.current = self._queue.popleft()
            state.events.append(Event("started", {"num_failures": state.num_failures}))
            await self._notify()
        assert group.current is not None
        return group.current.task

    async def report(self, group_id: int, metrics: dict[str, float]) -> bool:
        """An epoch's metrics; answers whether to go on.

        A restarted trial repeats its last epoch, because its report may have been lost: an epoch
        that had arrived is not passed on twice.
        """
        state = self._current(group_id)
        if metrics["epoch"] > state.last_epoch:
            state.last_epoch = metrics["epoch"]
            state.awaits_decision = True
            state.events.append(Event("epoch", dict(metrics)))
            await self._notify()
        while state.awaits_decision and not (state.is_stopped or self._is_closed):
            if time.monotonic() - state.last_asked_s > SILENT_TRIAL_S:
                await self.stop(state.task.task_id)
            await self._wait_for(
                lambda: not state.awaits_decision or state.is_stopped or self._is_closed, 10.0
            )
        return not (state.is_stopped or self._is_closed)

    async def finish(self, group_id: int, summary: dict[str, Any]) -> None:
        """The group's task is done, or has been stopped."""
        await self._end(self._current(group_id), Event("finished", summary))

    async def fail(self, group_id: int, error: dict[str, str]) -> None:
        """The group's task raised an error of its own: it is not tried again."""
        await self._end(self._current(group_id), Event("failed", error))

    # --- the owner's side

    async def lose(self, group_id: int, message: str, num_groups: int) -> None:
        """The group will not come back. With the last one, every waiting task fails."""
        self._lost_groups[group_id] = message
        group = self._groups.pop(group_id, None)
        if group is not None and group.current is not None:
            await self._requeue(group.current)
        if len(self._lost_groups) >= num_groups:
            error = {"error_type": "WorkerGroupLost", "message": message, "traceback": ""}
            for state in list(self._tasks.values()):
                await self._end(state, Event("failed", error))

    async def close(self) -> None:
        """Stop every task at its next report and send every group home."""
        self._is_closed = True
        await self._notify()

    async def worker_pids(self) -> dict[int, dict[int, int]]:
        """Process id by group and rank."""
        return {group_id: dict(group.pids) for group_id, group in self._groups.items()}

    # --- inside

    def _current(self, group_id: int) -> _TaskState:
        state = self._groups[group_id].current
        assert state is not None, "a group reports only while it has a task"
        return state

    async def _requeue(self, state: _TaskState) -> None:
        if state.is_over or state.is_stopped:
            return
        state.num_failures += 1
        if state.num_failures > state.task.max_failures:
            message = f"its worker died {state.num_failures} times"
            error = {"error_type": "WorkerDied", "message": message, "traceback": ""}
            await self._end(state, Event("failed", error))
        else:
            self._queue.appendleft(state)
            await self._notify()

    async def _end(self, state: _TaskState, event: Event) -> None:
        if not state.is_over:
            state.is_over = True
            state.events.append(event)
            await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def _wait_for(self, predicate: Callable[[], bool], timeout_s: float | None) -> None:
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(predicate), timeout_s)
            except TimeoutError:
                return
