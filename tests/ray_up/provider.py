"""Ray's side of `world.Cloud`: what the autoscaler and `ray up` call for hosts."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from ray.autoscaler.node_launch_exception import NodeLaunchException
from ray.autoscaler.node_provider import NodeProvider


class HostProvider(NodeProvider):  # type: ignore[misc]
    """Orders hosts from the cloud at ``provider.address``; asks it anew every time."""

    def _ask(self, path: str, order: dict[str, Any] | None = None) -> Any:
        data = None if order is None else json.dumps(order).encode()
        url = f"{self.provider_config['address']}/{path}"
        with urllib.request.urlopen(url, data, timeout=30) as answer:
            return json.load(answer)

    def non_terminated_nodes(self, tag_filters: dict[str, str]) -> list[str]:
        hosts = self._ask("").items()
        return [name for name, host in hosts if tag_filters.items() <= host["tags"].items()]

    def is_running(self, node_id: str) -> bool:
        return node_id in self._ask("")

    def is_terminated(self, node_id: str) -> bool:
        return not self.is_running(node_id)

    def node_tags(self, node_id: str) -> dict[str, str]:
        return dict(self._ask("").get(node_id, {}).get("tags", {}))

    def internal_ip(self, node_id: str) -> str | None:
        host = self._ask("").get(node_id)
        return host and host["ip"]

    external_ip = internal_ip

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> None:
        try:
            self._ask("create", {"tags": tags, "count": count})
        except urllib.error.HTTPError as error:  # as Ray's AWS provider says it
            raise NodeLaunchException("InsufficientInstanceCapacity", str(error), None) from None

    def set_node_tags(self, node_id: str, tags: dict[str, str]) -> None:
        self._ask("tags", {"name": node_id, "tags": tags})

    def terminate_node(self, node_id: str) -> None:
        self._ask("destroy", {"name": node_id})
