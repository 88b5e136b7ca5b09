"""Worker groups that wait for room: said within a minute, with the reason, instead of silence."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import ray
from ray.util import placement_group_table

from slrtune.cluster.orphans import remove_orphans
from slrtune.cluster.resources import TrialShare, fits_on
from slrtune.config.beside import beside

_logger = logging.getLogger(__name__)
_POLL_S = 5.0
# Ray places a group within a second or two where there is room.
_PATIENCE_S = 20.0
_SAY_AGAIN_S = 300.0


@contextlib.contextmanager
def telling_who_waits(
    share: TrialShare,
    say: Callable[[str], None],
    patience_s: float = _PATIENCE_S,
    poll_s: float = _POLL_S,
) -> Iterator[None]:
    """While active, says when worker groups of this shape cannot be placed, and when they can; and
    gives back what dead groups hold.

    Args:
        share: the groups' shape.
        say: shows a line to the user.
        patience_s: how long a group may wait before it is told.
        poll_s: how often to look.
    """

    def watch(is_over: threading.Event) -> None:
        waits_since_s = said_at_s = None
        while not is_over.wait(poll_s):
            _give_back_orphans()
            try:
                num_waiting = _num_waiting(share)
                told = _told(share, num_waiting) if num_waiting else ""
            except Exception:  # Ray is being left; and a sweep must not end for want of a message
                _logger.debug("nobody knows who waits for room", exc_info=True)
                continue
            now_s = time.monotonic()
            if not num_waiting:
                if said_at_s is not None:
                    say("All worker groups have room")
                waits_since_s = said_at_s = None
                continue
            waits_since_s = now_s if waits_since_s is None else waits_since_s
            is_new = said_at_s is None or now_s - said_at_s > _SAY_AGAIN_S
            if now_s - waits_since_s >= patience_s and is_new:
                said_at_s = now_s
                say(told)

    with beside("room", watch):
        yield


def why_waiting(
    share: TrialShare,
    num_waiting: int,
    nodes: Sequence[Mapping[str, float]],
    free: Mapping[str, float],
) -> str:
    """What waiting groups ask for, what there is, and what can be done.

    Args:
        share: the groups' shape.
        num_waiting: groups that wait.
        nodes: resources of each living node.
        free: what is free of all of them together.
    """
    gpus = f" and {share.gpus_per_worker:g} GPU" if share.gpus_per_worker else ""
    asked = f"{share.num_workers} worker(s) of {share.cpus_per_worker:g} CPU{gpus} each"
    kinds = ("CPU", "GPU") if share.gpus_per_worker else ("CPU",)
    has = ", ".join(
        f"{free.get(kind, 0.0):g} of {sum(node.get(kind, 0.0) for node in nodes):g} {kind}s"
        for kind in kinds
    )
    room = sum(fits_on(node, share.cpus_per_worker, share.gpus_per_worker) for node in nodes)
    if room < share.num_workers:
        why = "no node is large enough: one may be lost, or still to come (`ray status`)"
    else:
        why = "others hold the rest: `ray status` on the head node says who"
    return (
        f"{num_waiting} of {share.num_concurrent} worker group(s) wait for room: {asked}, but "
        f"{has} are free; {why}. The sweep waits, and goes on by itself; Ctrl-C ends it"
    )


def _give_back_orphans() -> None:
    try:
        if num_orphans := remove_orphans():
            _logger.warning("gave back the place of %d dead worker group(s)", num_orphans)
    except Exception:  # see above
        _logger.debug("nobody knows what dead groups hold", exc_info=True)


def _num_waiting(share: TrialShare) -> int:
    wanted = [share.worker_resources] * share.num_workers
    return sum(
        group["state"] in ("PENDING", "RESCHEDULING")
        and [dict(bundle) for bundle in group["bundles"].values()] == wanted
        for group in placement_group_table().values()
    )


def _told(share: TrialShare, num_waiting: int) -> str:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return why_waiting(share, num_waiting, nodes, ray.available_resources())
