"""Placement groups that a dead controller of Ray Train has left behind."""

from __future__ import annotations

import ray
from ray.core.generated.gcs_pb2 import PlacementGroupTableData
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup


def remove_orphans() -> int:
    """Give back the CPUs and GPUs of worker groups whose controller is dead; how many there were.

    Ray Train gives back those of a group that has started. Where a worker is killed while it starts
    (Ray's memory monitor does that to the youngest), the controller ends without a word to Ray, and
    the group's place stays taken until the whole job ends: the next controller waits for ever.
    """
    accessor = ray._private.state.state._connect_and_get_accessor()
    own_job = ray.get_runtime_context().get_job_id()
    found = [PlacementGroupTableData.FromString(i) for i in accessor.get_placement_group_table()]
    orphans = [
        group
        for group in found
        if group.creator_job_id.hex() == own_job
        and not ray.ActorID(group.creator_actor_id).is_nil()  # Tune's, which the driver made
        and group.creator_actor_dead  # for good: Ray Train does not let controllers restart
        and not group.is_detached
        and group.state != PlacementGroupTableData.REMOVED
    ]
    for group in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(orphans)
