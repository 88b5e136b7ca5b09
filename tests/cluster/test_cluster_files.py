"""cluster.yaml and cluster.local.yaml: Ray's own schema, and what must not be forgotten in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import slrtune.cluster  # noqa: F401  (sets what Ray reads at import)

_ROOT = Path(__file__).parent.parent.parent


def read_prepared(name: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The file as `ray up` reads it, complete."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    monkeypatch.chdir(_ROOT)
    prepared = prepare_config(yaml.safe_load((_ROOT / name).read_text()))
    validate_config(prepared)
    return prepared  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["cluster.yaml", "cluster.local.yaml"])
def test_a_cluster_file_passes_ray_s_schema_and_keeps_strangers_out(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_prepared(name, monkeypatch)
    starts = "\n".join(config["head_start_ray_commands"])
    assert "--dashboard-host=127.0.0.1" in starts
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])
    assert config["file_mounts"]["~/.ray/auth_token"].endswith("/.ray/auth_token")
    code = [path for path in config["file_mounts"].values() if path.startswith("./")]
    assert [path for path in code if not (_ROOT / path).exists()] == []


def test_the_head_trains_nothing_and_spot_comes_before_on_demand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from ray.autoscaler._private.node_provider_availability_tracker import (
        NodeProviderAvailabilityTracker,
    )
    from ray.autoscaler._private.resource_demand_scheduler import get_nodes_for
    from ray.autoscaler.node_launch_exception import NodeLaunchException

    from slrtune.cluster.spot import available_first

    config = read_prepared("cluster.yaml", monkeypatch)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    for name in ("gpu_spot", "gpu_on_demand"):
        types[name]["resources"] = {"CPU": 8, "GPU": 1}  # as looked up on AWS
    tracker = NodeProviderAvailabilityTracker()

    def chosen() -> dict[str, int]:
        def score(*given: Any) -> Any:
            return available_first(*given, node_availability_summary=tracker.summary())

        return dict(get_nodes_for(types, {}, "head", 4, [{"CPU": 1, "GPU": 1}] * 2, score)[0])

    assert chosen() == {"gpu_spot": 2}
    none_left = NodeLaunchException("InsufficientInstanceCapacity", "none left", None)
    tracker.update_node_availability("gpu_spot", 2**40, none_left)
    assert chosen() == {"gpu_on_demand": 2}


def test_the_kuberay_example_is_a_ray_job_whose_command_exists() -> None:
    job = yaml.safe_load((_ROOT / "deploy" / "kuberay" / "sweep.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["spec"]["entrypoint"].startswith("slrtune sweep search_spaces/fingerspelling.yaml")
