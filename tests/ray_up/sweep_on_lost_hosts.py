"""In the world of `world`: `ray up`, a sweep, its host lost in the middle of a trial, `ray down`.

    python -m tests.ray_up.sweep_on_lost_hosts

It takes the steps of docs/clusters.md, from a machine outside the cluster, and prints what they
print. The last line is JSON: seconds, hosts, and what commands printed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from optuna.trial import FrozenTrial

from slrtune.config.errors import UserError
from slrtune.sweep.study import read_study
from tests.ray_up.world import (
    CHECKOUT,
    CLOUD_ADDRESS,
    CLOUD_PORT,
    KEY,
    SHARED_MOUNT,
    WORLD,
    Cloud,
    wait_until,
)  # fmt: skip

RUNS = SHARED_MOUNT / "runs"
_DASHBOARD = "http://localhost:8265"
_CLUSTER_FILE = "cluster.yaml"
# Ray looks again and again at intervals of 3 to 10 s, of which the test need not wait for all.
_IMPATIENCE = (
    "AUTOSCALER_UPDATE_INTERVAL_S=1 AUTOSCALER_NODE_SSH_INTERVAL_S=1 "
    "RAY_health_check_period_ms=1000 RAY_health_check_timeout_ms=2000"
)


def write_cluster_file(folder: Path) -> None:
    """The checkout's cluster.yaml, for this cloud and without what needs the internet."""
    config = yaml.safe_load((CHECKOUT / _CLUSTER_FILE).read_text())
    config["provider"] = {
        "type": "external",
        "module": "tests.ray_up.provider.HostProvider",
        "address": f"http://{CLOUD_ADDRESS}:{CLOUD_PORT}",
    }
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(KEY)}
    for name, node_type in config["available_node_types"].items():
        node_type["node_config"] = {}
        if name != config["head_node_type"]:
            node_type["resources"] = {"CPU": 1}  # where AWS's provider knows it by InstanceType
    config["max_workers"] = 1
    config["docker"] = {}
    mounts = config["file_mounts"]
    config["file_mounts"] = {
        target: source.replace("./", f"{CHECKOUT}/") for target, source in mounts.items()
    }
    # All but slrtune itself is in the hosts' ~/venv; the checkout has the provider's module.
    paths = f"export PYTHONPATH=$HOME/slrtune:{CHECKOUT} {_IMPATIENCE}"
    config["setup_commands"] = [
        f"grep -q PYTHONPATH ~/.bashrc || sed -i '1i {paths}' ~/.bashrc"
        if "pip install" in command
        else command
        for command in config["setup_commands"]
    ]
    (folder / _CLUSTER_FILE).write_text(yaml.safe_dump(config, sort_keys=False))


def ask(*command: str) -> str:
    """Run a command as a user would; what it printed."""
    done = subprocess.run(
        command, cwd=WORLD, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(f"$ {' '.join(command)}\n{done.stdout}", flush=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    return done.stdout


def ask_slrtune(*arguments: str) -> str:
    """Run a command of slrtune on the cluster, through the tunnel."""
    return ask(sys.executable, "-m", "slrtune.cli.main", *arguments, "--address", _DASHBOARD)


class Clock:
    """Seconds that steps took."""

    def __init__(self) -> None:
        self.figures: dict[str, Any] = {}

    def took(self, what: str, since_s: float) -> None:
        """Note a step's end, now."""
        self.figures[what] = round(time.monotonic() - since_s, 1)
        print(f"{what}: {self.figures[what]} s", flush=True)


def main() -> None:
    """See the module."""
    clock = Clock()
    started_s = time.monotonic()
    with Cloud() as cloud:
        write_cluster_file(WORLD)
        ask("ray", "get-auth-token", "--generate")
        ask("ray", "up", "-y", "--no-config-cache", _CLUSTER_FILE)
        clock.took("ray_up_s", started_s)
        tunnel = subprocess.Popen(
            ["ray", "dashboard", _CLUSTER_FILE], cwd=WORLD, stdout=subprocess.DEVNULL
        )
        _wait_for_dashboard()
        _sweep(cloud, clock)
        with ThreadPoolExecutor() as pool:
            check = pool.submit(ask_slrtune, "cluster", "check", "--runs-dir", str(RUNS))
            results = pool.submit(ask_slrtune, "results", "s")
            clock.figures |= {"check": check.result(), "results": results.result()}
        tunnel.terminate()
        down_s = time.monotonic()
        ask("ray", "down", "-y", _CLUSTER_FILE)
        clock.took("ray_down_s", down_s)
        clock.figures["hosts_left"] = sorted(cloud.hosts())
    clock.took("total_s", started_s)
    print(json.dumps(clock.figures))


def _sweep(cloud: Cloud, clock: Clock) -> None:
    """A sweep whose host is taken away in the middle of a trial, when spot is sold out."""
    submitted_s = time.monotonic()
    ask_slrtune("sweep", "space.yaml", "-e", "experiment.yaml", "--name", "s")
    folder = RUNS / "s"
    wait_until(lambda: _running(folder), "a trial runs", 180)
    clock.took("submit_to_first_epoch_s", submitted_s)
    lost_s = time.monotonic()
    trial = _running(folder)[0]
    victim = _host_of(trial)
    types = [_node_type(cloud, victim)]
    cloud.sell_out(types[0])
    cloud.destroy(victim)
    clock.figures["epoch_of_loss"] = trial.user_attrs["last_report"]["epoch"]
    wait_until(lambda: len(cloud.hosts()) > 1, "another host is ordered", 180)
    clock.took("loss_to_new_host_s", lost_s)
    wait_until(lambda: _host_of(_trials(folder)[trial.number]) != victim, "its trial goes on", 240)
    clock.took("loss_to_next_epoch_s", lost_s)
    types.append(_node_type(cloud, _host_of(_trials(folder)[trial.number])))
    clock.figures |= {"node_types": types, "log": ask_slrtune("logs", "s")}
    clock.took("submit_to_end_s", submitted_s)


def _wait_for_dashboard() -> None:
    def answers() -> bool:
        try:
            urllib.request.urlopen(_DASHBOARD, timeout=5).close()
        except urllib.error.HTTPError:
            return True  # it asks for the token
        except OSError:
            return False
        return True

    wait_until(answers, "the dashboard answers through the tunnel", 60)


def _trials(folder: Path) -> list[FrozenTrial]:
    try:
        return read_study(folder).get_trials(deepcopy=False)
    except UserError:
        return []  # not yet


def _running(folder: Path) -> list[FrozenTrial]:
    """Trials that have reported an epoch and not ended."""
    return [t for t in _trials(folder) if not t.state.is_finished() and _host_of(t)]


def _host_of(trial: FrozenTrial) -> str:
    node: str = trial.user_attrs.get("last_report", {}).get("node", "")
    return node.rpartition("-")[0]


def _node_type(cloud: Cloud, host: str) -> str:
    node_type: str = cloud.hosts()[host]["tags"]["ray-user-node-type"]
    return node_type


if __name__ == "__main__":
    main()
