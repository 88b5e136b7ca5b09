"""`ray up` for real, on hosts in network namespaces instead of a cloud's.

It needs no place among the Ray tests: its clusters see no other process of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from optuna.trial import TrialState

from slrtune.config.overrides import Overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.study import read_study
from tests.ray_up import world
from tests.sweep.unbroken import best_epoch, suggested

_NUM_TRIALS, _NUM_EPOCHS = 2, 40
_SPACE = """
parameters:
  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
  training.weight_decay: {low: 1e-4, high: 1e-1, log: true}
"""


def what_is_missing() -> str:
    """Why hosts cannot be started here; empty = they can."""
    if os.geteuid() != 0:
        return "hosts in network namespaces need root"
    needed = ("sshd", "rsync", "ip", "unshare", "setpriv", "findmnt")
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; `make system-tools` installs them"
    probe = "mount -t tmpfs tmpfs /mnt && ip link add probe type bridge"
    namespaces = ["unshare", "-n", "-m", "-p", "-u", "--fork", "--mount-proc"]
    done = subprocess.run([*namespaces, "sh", "-c", probe], capture_output=True, check=False)
    return f"no namespaces here: {done.stderr.decode().strip()}" if done.returncode else ""


def world_processes(folder: Path) -> list[str]:
    """Living processes that came of a world."""
    return [
        environment.parent.name
        for environment in Path("/proc").glob("[0-9]*/environ")
        if f"WORLD_FOLDER={folder}".encode() in _read(environment)
    ]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def prepare(folder: Path, colors_root: Path, colors_experiment: Path) -> None:
    """The machine from which the sweep is sent: two YAML files, and data where hosts see them."""
    shared = folder / "shared"
    shutil.copytree(colors_root, shared / "colors")
    (folder / "home").mkdir()
    settings = yaml.safe_load(colors_experiment.read_text())
    settings["runs_dir"] = f"{world.SHARED_MOUNT}/runs"
    settings["data"]["root"] = f"{world.SHARED_MOUNT}/colors"
    settings["data"]["cache_dir"] = f"{world.SHARED_MOUNT}/cache"
    settings["training"]["max_epochs"] = _NUM_EPOCHS
    # so that what is drawn does not depend on what was seen when
    settings["sweep"] = {"max_trials": _NUM_TRIALS, "sampler": "random", "scheduler": "none"}
    (folder / "experiment.yaml").write_text(yaml.safe_dump(settings))
    (folder / "space.yaml").write_text(_SPACE)


@pytest.mark.root
def test_a_sweep_outlives_the_loss_of_its_host_and_ends_as_if_nothing_had_been(
    tmp_path: Path, colors_root: Path, shared_cache: Path, colors_experiment: Path
) -> None:
    if reason := what_is_missing():
        pytest.skip(reason)
    folder = tmp_path / "world"
    prepare(folder, colors_root, colors_experiment)
    hosts = world.enter(["tests.ray_up.sweep_on_lost_hosts"], folder, folder / "home")
    output, _ = hosts.communicate(timeout=480)
    print(output)
    assert hosts.returncode == 0
    assert world_processes(folder) == []
    figures = json.loads(output.splitlines()[-1])
    assert figures["node_types"] == ["gpu_spot", "gpu_on_demand"]
    assert 0 < figures["epoch_of_loss"] < _NUM_EPOCHS
    assert "seen by all: ready" in figures["check"]
    assert "2 trials: 2 completed" in figures["results"]
    assert figures["hosts_left"] == []
    trials = read_study(folder / "shared" / "runs" / "s").get_trials()
    here = {"data.root": str(colors_root), "data.cache_dir": str(shared_cache)}
    space = load_search_space(folder / "space.yaml", folder / "experiment.yaml", Overrides(here))
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * _NUM_TRIALS
    drawn = suggested(space, tmp_path / "here", _NUM_TRIALS)
    assert [trial.params for trial in trials] == drawn
    for trial in trials:
        best = best_epoch(space, trial.params, tmp_path / f"{trial.number}")
        assert trial.value == best["val_top1"]
        assert trial.user_attrs["best_val_loss"] == best["val_loss"]
        assert sorted(trial.intermediate_values) == list(range(1, _NUM_EPOCHS + 1))
