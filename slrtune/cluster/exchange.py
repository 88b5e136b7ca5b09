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
from typing import TYPE_CHECKING, Any, Literal

from slrtune.cluster.task import NOBODY_LEFT, Event, Task

if TYPE_CHECKING:
    from slrtune.cluster.losses import Loss


# A trial asks about once a second; one that has been silent for this long is dead. Longer than the
# sweep may wait for its storage (`resources.storage_patience_s`), when it asks for nothing.
SILENT_TRIAL_S = 900.0
_CHECK_S = 10.0


@dataclass
class _TaskState:
    task: Task
    last_asked_s: float
    phase: Literal["waiting", "running", "stopped", "over"] = "waiting"
    num_restarts: int = 0
    num_failures: int = 0
    restart_reason: str = ""
    last_epoch: float = 0.0
    started_at_epoch: float = 0.0
    awaits_decision: bool = False
    events: deque[Event] = field(default_factory=deque)


@dataclass
class _Group:
    """One life of a worker group: a restarted group has another ``life``.

    Ray does not cancel what a dead worker has asked for: its calls are still answered here, and
    must not draw the task of the group that took its place.
    """

    life: str
    pids: dict[int, int] = field(default_factory=dict)
    current: _TaskState | None = None


class Exchange:
    """Matches tasks with groups and carries reports one way, decisions the other.

    Args:
        num_groups: groups that serve; when all of them are lost, every task fails.
    """

    def __init__(self, num_groups: int) -> None:
        self._num_groups = num_groups
        self._tasks: dict[str, _TaskState] = {}
        self._queue: deque[_TaskState] = deque()
        self._groups: dict[int, _Group] = {}
        self._lost_groups: dict[int, str] = {}
        self._num_reports: dict[int, int] = {}
        self._is_closed = False
        self._changed = asyncio.Condition()

    # --- the trial's side

    async def submit(self, task: Task) -> None:
        """Queue a task for the next idle group."""
        state = self._tasks[task.task_id] = _TaskState(task, time.monotonic())
        if len(self._lost_groups) >= self._num_groups:
            self._fail_lost(state)
        else:
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
        if state is not None and state.phase != "over":
            state.phase = "stopped"
            await self._notify()

    # --- the group's side: calls of a life that another has followed change nothing

    async def join(self, group_id: int, life: str, rank: int, pid: int) -> None:
        """A worker process of a new or restarted group is ready.

        A task that the group's last life left unfinished is queued first, for any group, unless
        it has failed too often.
        """
        group = self._groups.get(group_id)
        if group is None or group.life != life:
            if group is not None:
                self._requeue(group, "its worker died")
            group = self._groups[group_id] = _Group(life)
        group.pids[rank] = pid
        await self._notify()

    async def take(self, group_id: int, life: str, rank: int, previous: str | None) -> Task | None:
        """The group's task after ``previous``; None when there is no more work for this life.

        Rank 0 draws from the queue; the other ranks wait for what rank 0 drew.
        """

        def is_settled() -> bool:
            group = self._living(group_id, life)
            if group is None:
                return True
            if rank == 0:
                return self._has_waiting()
            return group.current is not None and group.current.task.task_id != previous

        await self._wait_for(is_settled, None)
        group = self._living(group_id, life)
        if group is None:
            return None
        if rank == 0:
            state = group.current = self._queue.popleft()
            state.phase = "running"
            state.started_at_epoch = state.last_epoch
            told = {"num_restarts": state.num_restarts, "restart_reason": state.restart_reason}
            state.events.append(Event("started", told))
            await self._notify()
        assert group.current is not None
        return group.current.task

    async def report(self, group_id: int, life: str, metrics: dict[str, Any]) -> bool:
        """An epoch's metrics; answers whether to go on.

        A restarted trial repeats its last epoch, because its report may have been lost: an epoch
        that had arrived is not passed on twice.
        """
        state = self._running(group_id, life)
        if state is None:
            return False
        self._num_reports[group_id] = self._num_reports.get(group_id, 0) + 1
        if metrics["epoch"] > state.last_epoch:
            state.last_epoch = metrics["epoch"]
            state.awaits_decision = True
            state.events.append(Event("epoch", dict(metrics)))
            await self._notify()

        def is_decided() -> bool:
            return not state.awaits_decision or self._running(group_id, life) is not state

        while not is_decided():
            await self._wait_for(is_decided, _CHECK_S)
            if time.monotonic() - state.last_asked_s > SILENT_TRIAL_S:
                message = f"nobody asked for its reports for {SILENT_TRIAL_S:g} s"
                self._end(state, _failure("TrialSilent", message))
        return self._running(group_id, life) is state

    async def finish(self, group_id: int, life: str, summary: dict[str, Any]) -> None:
        """The group's task is done, or has been stopped."""
        await self._end_running(group_id, life, Event("finished", summary))

    async def fail(self, group_id: int, life: str, error: dict[str, Any]) -> None:
        """The group's task raised an error of its own: it is not tried again."""
        await self._end_running(group_id, life, Event("failed", error))

    # --- the owner's side

    async def num_reports(self, group_id: int) -> int:
        """Epochs that the group has reported or ended in all its lives: whether it gets on."""
        return self._num_reports.get(group_id, 0)

    async def leave(self, group_id: int, loss: Loss) -> None:
        """The group has lost a worker and starts anew; any other group may have its task now."""
        group = self._groups.pop(group_id, None)
        if group is not None:
            self._requeue(group, loss.reason, is_of_node=loss.is_of_node)
            await self._notify()

    async def lose(self, group_id: int, message: str) -> None:
        """The group will not come back. With the last one, every task fails."""
        self._lost_groups[group_id] = message
        group = self._groups.pop(group_id, None)
        if group is not None:
            self._requeue(group, message)
        if len(self._lost_groups) >= self._num_groups:
            for state in list(self._tasks.values()):
                self._fail_lost(state)
        await self._notify()

    async def close(self) -> None:
        """Stop every task at its next report and send every group home."""
        self._is_closed = True
        await self._notify()

    # --- inside

    def _living(self, group_id: int, life: str) -> _Group | None:
        group = self._groups.get(group_id)
        is_living = group is not None and group.life == life and not self._is_closed
        return group if is_living else None

    def _running(self, group_id: int, life: str) -> _TaskState | None:
        group = self._living(group_id, life)
        state = group.current if group is not None else None
        return state if state is not None and state.phase == "running" else None

    def _has_waiting(self) -> bool:
        while self._queue and self._queue[0].phase != "waiting":
            self._queue.popleft()  # stopped before its turn
        return bool(self._queue)

    def _requeue(self, group: _Group, reason: str, *, is_of_node: bool = False) -> None:
        state = group.current
        if state is None or state.phase != "running":
            return
        state.num_restarts += 1
        state.restart_reason = reason
        # The loss of a node is not the trial's fault, unless it comes as often as the trial does.
        if not (is_of_node and state.last_epoch > state.started_at_epoch):
            state.num_failures += 1
        if state.num_failures > state.task.max_failures:
            message = f"its worker died {state.num_failures} times; the last time: {reason}"
            self._end(state, _failure("WorkerDied", message))
        else:
            state.phase = "waiting"
            self._queue.appendleft(state)

    def _fail_lost(self, state: _TaskState) -> None:
        message = f"no worker group is left: {next(reversed(self._lost_groups.values()))}"
        self._end(state, _failure(NOBODY_LEFT, message))

    def _end(self, state: _TaskState, event: Event) -> None:
        if state.phase in ("waiting", "running"):
            state.phase = "over"
            state.events.append(event)

    async def _end_running(self, group_id: int, life: str, event: Event) -> None:
        state = self._running(group_id, life)
        if state is not None:
            self._num_reports[group_id] = self._num_reports.get(group_id, 0) + 1
            self._end(state, event)
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


def _failure(error_type: str, message: str) -> Event:
    error = {"error_type": error_type, "message": message, "traceback": ""}
    return Event("failed", {**error, "is_out_of_memory": False, "is_storage_away": False})
