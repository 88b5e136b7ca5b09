"""What a trial hands to a worker group, and what it hears of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

# Type of the error that says nothing about a trial: there is nobody left to train it.
NOBODY_LEFT = "WorkerGroupLost"
EventKind = Literal["started", "epoch", "finished", "failed", "waiting"]


@dataclass(frozen=True)
class Task:
    """One trial's work.

    Attributes:
        task_id: unique name of the trial.
        experiment: the resolved configuration as plain data.
        folder: the trial's own folder, on storage that every node sees, or the working folder of
            an address that every node reaches.
        max_failures: how often a group that died may take it up again.
        use_profiler: record a few optimizer steps into ``folder``; no setting, for it changes no
            result.
    """

    task_id: str
    experiment: dict[str, Any]
    folder: str
    max_failures: int = 2
    use_profiler: bool = False


@dataclass(frozen=True)
class Event:
    """What happened to a task.

    Attributes:
        kind: ``started`` (payload: ``num_restarts`` so far and ``restart_reason``), ``epoch``
            (metrics), ``finished`` (summary), ``failed`` (see `worker.describe_error`) or
            ``waiting`` (nothing yet).
        payload: plain data.
    """

    kind: EventKind
    payload: dict[str, Any] = field(default_factory=dict)
