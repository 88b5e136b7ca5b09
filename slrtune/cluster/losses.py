"""Why a worker is gone: what Ray knows about it, in a line, and whose fault it was."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray
from ray.train import UserCallback

_logger = logging.getLogger(__name__)
_NODE_VERDICT_S = 15.0
_EXIT_DETAIL = "exit detail:"


@dataclass(frozen=True)
class Loss:
    """Why a worker group lost a worker.

    Attributes:
        reason: in a line, to be read after "the trial was taken up again: ".
        is_of_node: the node went, not only the worker's process: that says nothing about the trial.
    """

    reason: str
    is_of_node: bool = False


class LossReporter(UserCallback):
    """Ray Train's hook: tells the exchange at once that a group has lost a worker.

    The group itself says so only when it is back, and where its node is gone and no other is to be
    had, that may take hours; meanwhile another group goes on with its trial.

    Args:
        exchange: handle of the exchange actor.
        group_id: the group.
    """

    def __init__(self, exchange: Any, group_id: int) -> None:
        self._exchange, self._group_id = exchange, group_id

    def after_exception(
        self, run_context: Any, worker_exceptions: Mapping[int, BaseException]
    ) -> None:
        """Workers died or raised; what they raised themselves they have told already."""
        loss = loss_of(worker_exceptions)
        try:
            ray.get(self._exchange.leave.remote(self._group_id, loss))
        except ray.exceptions.RayError:  # the sweep is over
            _logger.warning("group %d: %s", self._group_id, loss.reason)


def loss_of(errors: Mapping[int, BaseException]) -> Loss:
    """What the errors of a group's workers (rank -> error) come down to."""
    # Ray Train wraps what Ray says of a dead process.
    causes = [getattr(error, "health_check_failure", error) for error in errors.values()]
    losses = [_loss_by(cause) for cause in causes]
    # Where a node is gone, the other ranks fail because of it.
    return min(losses, key=lambda loss: not loss.is_of_node)


def _loss_by(cause: BaseException) -> Loss:
    text = str(cause)
    if isinstance(cause, ray.exceptions.NodeDiedError) or "its node has died" in text:
        taken = getattr(cause, "preempted", False) or "drain" in text.lower()
        return Loss("its node was taken away" if taken else "its node was lost", is_of_node=True)
    if isinstance(cause, ray.exceptions.OutOfMemoryError) or "low on memory" in text:
        return Loss(
            "Ray killed its worker because the node's main memory was nearly full; lower "
            "sweep.max_concurrent_trials, or raise resources.cpus_per_worker"
        )
    if isinstance(cause, ray.exceptions.RayActorError):
        if _EXIT_DETAIL not in text and _node_is_gone(cause.actor_id):
            return Loss("its node was lost", is_of_node=True)
        return Loss(
            "its worker process was killed: by the kernel where the node's main memory was full, or"
            f" by a crash ({_exit_detail(text)})"
        )
    return Loss(f"{type(cause).__name__}: {(text.splitlines() or [''])[0]}")


def _node_is_gone(actor_id: str | None) -> bool:
    """Whether the node of an actor that does not answer is dead.

    Ray says at once that the actor does not answer or is dead, but that its node is gone only when
    the node has missed some health checks.
    """
    if actor_id is None:
        return False
    node_id = ray._private.state.state.actor_table(actor_id).get("Address", {}).get("NodeID")
    if not any(node["NodeID"] == node_id for node in ray.nodes()):
        return False  # nobody knows
    deadline_s = time.monotonic() + _NODE_VERDICT_S
    while time.monotonic() < deadline_s:
        if not any(node["Alive"] for node in ray.nodes() if node["NodeID"] == node_id):
            return True
        time.sleep(0.5)
    return False


def _exit_detail(text: str) -> str:
    """The one line of Ray's message that says how the process ended."""
    marked = [line for line in text.splitlines() if _EXIT_DETAIL in line]
    return marked[0].partition(_EXIT_DETAIL)[2].split(". ")[0].strip() if marked else "no word"
