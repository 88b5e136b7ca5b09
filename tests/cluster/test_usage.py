"""What nodes tell of themselves, on a real Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ray

# In a process of its own: Ray takes its way to authenticate from when it is first imported.
_LOOK = """
import time
import slrtune.cluster, ray
from slrtune.cluster.usage import UsageWatch

ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
with UsageWatch() as watch:
    [from_here] = watch.look()
    [_, by_an_actor] = watch.look(here="0")  # as if this were another node
    assert from_here.node == by_an_actor.node
    for seen in (from_here, by_an_actor):
        assert 0 < seen.used_gib < seen.total_gib and 0 <= seen.cpu_share <= 1
    deadline_s = time.monotonic() + 30
    while not watch.nodes and time.monotonic() < deadline_s:
        time.sleep(0.1)
    assert [seen.node for seen in watch.nodes] == [from_here.node]
deadline_s = time.monotonic() + 30
table = ray._private.state.state.actor_table
while any(a["State"] != "DEAD" for a in table(None, None, None).values()):
    assert time.monotonic() < deadline_s, "an actor is left"
    time.sleep(0.1)
"""


def test_nodes_are_seen_from_here_and_by_actors_of_which_none_is_left(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    run = [sys.executable, "-c", _LOOK]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
