"""The shards of a pack on a Ray cluster, by Ray Data: for data that outgrow one machine.

Every machine must see the source files and the folder of the pack under the same names (NFS, or an
address such as s3://). Pixels do not travel through Ray: a task writes its own shard.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

from slrtune.data.pack.build import ShardResult, ShardTask, pack_crash_proof


def by_ray_data(tasks: Sequence[ShardTask]) -> Iterator[ShardResult]:
    """Packs in the Ray session that this process is connected to; see `Engine`."""
    import ray.data

    if not tasks:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours says clips/s
    rows = [{"task": pickle.dumps(task)} for task in tasks]
    shards = ray.data.from_items(rows, override_num_blocks=len(rows))
    for row in shards.map(_pack_row, num_cpus=1).iter_rows():
        yield pickle.loads(row["result"])


def _pack_row(row: dict[str, Any]) -> dict[str, Any]:
    # in a process of its own: a decoder that crashes or hangs must not take Ray's worker with it
    (result,) = pack_crash_proof([pickle.loads(row["task"])], num_workers=1)
    return {"result": pickle.dumps(result)}
