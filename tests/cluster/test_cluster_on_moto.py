"""cluster.yaml against an EC2 that moto plays: instance types, node_config and IAM, no account."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import boto3
import moto
import pytest
import yaml

import slrtune.cluster  # noqa: F401  (sets what Ray reads at import)

_ROOT = Path(__file__).parent.parent.parent


def test_ray_s_aws_provider_starts_the_head_and_both_kinds_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.autoscaler._private.commands import _bootstrap_config
    from ray.autoscaler._private.providers import _get_node_provider

    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes an ssh key there
    (tmp_path / ".ssh").mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.chdir(_ROOT)
    config = yaml.safe_load((_ROOT / "cluster.yaml").read_text())
    with moto.mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        iam = boto3.client("iam", region_name=config["provider"]["region"])
        iam.create_instance_profile(InstanceProfileName="slrtune-node")
        full = _bootstrap_config(config, no_config_cache=True)
        types = full["available_node_types"]
        assert types["head"]["resources"]["CPU"] == 0
        assert types["gpu_spot"]["resources"]["CPU"] == 8
        assert types["gpu_spot"]["resources"]["GPU"] == 1
        provider = _get_node_provider(full["provider"], full["cluster_name"], use_cache=False)
        started = {name: _start(provider, types[name]["node_config"], name) for name in types}
    image = config["available_node_types"]["head"]["node_config"]["ImageId"]
    for name, instance in started.items():
        assert instance["ImageId"] == image
        assert instance["IamInstanceProfile"]["Arn"].endswith("/slrtune-node")
        assert (instance.get("InstanceLifecycle") == "spot") == (name == "gpu_spot")
    assert started["head"]["InstanceType"] == "m6i.xlarge"
    assert started["gpu_spot"]["InstanceType"] == "g5.2xlarge"


def _start(provider: Any, node_config: dict[str, Any], name: str) -> dict[str, Any]:
    """What EC2 says of one new instance."""
    provider.create_node(node_config, {"ray-user-node-type": name}, 1)
    found = provider.non_terminated_nodes({"ray-user-node-type": name})
    ec2 = boto3.client("ec2", region_name=provider.provider_config["region"])
    answer = ec2.describe_instances(InstanceIds=found)
    return answer["Reservations"][0]["Instances"][0]  # type: ignore[no-any-return]
