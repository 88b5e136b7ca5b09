"""A sweep on two nodes whose disk is full: it stops with a word, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from slrtune.config.overrides import read_overrides
from slrtune.config.search_space_file import load_search_space
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.study import read_study
from tests.cli_process import SlrtuneProcess
from tests.ray_cluster import RayCluster
from tests.sweep.test_sweep_on_ray import write_space
from tests.sweep.unbroken import Unbroken

pytestmark = pytest.mark.ray

_SPACE = """
parameters:
  training.learning_rate: {low: 1e-4, high: 1e-2, log: true}
"""
_SETTINGS = (
    "training.max_epochs=20", "sweep.max_trials=3", "sweep.sampler=random", "sweep.scheduler=none",
    "resources.storage_patience_s=2",
)  # fmt: skip


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 MiB."""
    folder = tmp_path / "runs"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root, where it may mount, can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(file: Path) -> None:
    """Take all that is free on a disk."""
    with file.open("wb", buffering=0) as filler:
        for size in (2**20, 2**12):
            try:
                while True:
                    filler.write(bytes(size))
            except OSError:
                continue


def test_a_sweep_on_a_full_disk_stops_and_goes_on_when_there_is_room(
    tmp_path: Path, colors_experiment: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_space(tmp_path, _SPACE)
    settings = [word for setting in _SETTINGS for word in ("--set", setting)]
    folder = small_disk / "s"
    space = load_search_space(Path(written), colors_experiment, read_overrides(_SETTINGS))
    with Unbroken(space, 3, tmp_path) as unbroken, RayCluster(0, monkeypatch) as cluster:
        cluster.add_node()
        cluster.add_node()
        where = ["--address", cluster.address]
        arguments = ["sweep", written, "-e", str(colors_experiment), "--name", "s", *settings]
        sweep = SlrtuneProcess([*arguments, *where], tmp_path)
        sweep.wait_for((trial_folder(folder, 1) / "checkpoints" / "last.pt").exists)
        fill(small_disk / "filler")
        assert sweep.wait() == 2, sweep.output
        assert "No space left on device" in sweep.output
        assert f"slrtune sweep --resume {folder}" in sweep.output.replace("\n", " ")
        assert "Traceback" not in sweep.output
        assert sweep.left_behind() == cluster.left_behind() == []
        (small_disk / "filler").unlink()
        resumed = SlrtuneProcess(["sweep", "--resume", "s", *where], tmp_path)
        assert resumed.wait() == 0, resumed.output
        unbroken.assert_equals(read_study(folder).trials)
