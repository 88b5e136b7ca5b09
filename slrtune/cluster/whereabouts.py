"""Where and since when a worker is at a trial: for the timeline of a report."""

from __future__ import annotations

import socket
import time
from typing import Any

import ray


def whereabouts() -> dict[str, Any]:
    """What a worker tells beside its metrics.

    Returns:
        ``node``: host, and the start of Ray's id of the node, for several may run on one host;
        ``started_at``: seconds since 1970, now.
    """
    node_id = ray.get_runtime_context().get_node_id()
    return {"node": node_name(node_id), "started_at": time.time()}


def node_name(node_id: str) -> str:
    """What this node is called: for people a host, and unlike another node on the same one."""
    return f"{socket.gethostname()}-{node_id[:4]}"
