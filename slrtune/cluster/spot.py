"""Spot first, on demand where there is none: which kind of machine the autoscaler asks for.

It runs inside Ray's autoscaler on the head node. `cluster.yaml` names it in the environment of
``ray start --head``: ``RAY_AUTOSCALER_UTILIZATION_SCORER=slrtune.cluster.spot.available_first``.
Left to itself, Ray 2.60 asks for the first of two equal node types again and again, however often
the cloud says that it has none (seen with both autoscalers).
"""

from __future__ import annotations

from typing import Any

from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import _default_utilization_scorer


def available_first(
    node_resources: dict[str, float],
    demands: list[dict[str, float]],
    node_type: str,
    *,
    node_availability_summary: NodeAvailabilitySummary,
) -> tuple[bool, tuple[Any, ...]] | None:
    """How well a node of this type would serve ``demands``; None = not at all. Greater is better.

    A type that the cloud had none of in the last half hour comes after every other. Among equals
    Ray takes the name that sorts last: ``gpu_spot`` before ``gpu_on_demand``.
    """
    utilization = _default_utilization_scorer(
        node_resources, demands, node_type, node_availability_summary=node_availability_summary
    )
    if utilization is None:
        return None
    record = node_availability_summary.node_availabilities.get(node_type)
    return record is None or record.is_available, utilization
