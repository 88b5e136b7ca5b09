"""`slrtune data pack`: killed and finished by another engine, the bytes are the same."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from slrtune.config.validate import experiment_from_dict
from slrtune.data.pack.build import by_processes
from slrtune.data.prepare import pack_data
from tests.cli_process import SlrtuneProcess, run_slrtune

pytestmark = pytest.mark.ray


def checksums(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_killed_pack_is_finished_by_ray_data_with_the_same_bytes(
    tmp_path: Path, colors_root: Path
) -> None:
    root = shutil.copytree(colors_root, tmp_path / "videos")
    (root / "train" / "red" / "broken.mp4").write_bytes(b"")
    settings = {"source": "class_folders", "root": str(root), "image_size": 32}
    data = experiment_from_dict({"data": settings}, "test").data
    pack_data(data, str(tmp_path / "unbroken"), lambda *_: None, by_processes(1))

    out = tmp_path / "pack"
    arguments = [f"--set=data.{key}={value}" for key, value in settings.items()]
    command = ["data", "pack", *arguments, "--out", f"file://{out}"]
    killed = SlrtuneProcess(command, tmp_path)
    killed.wait_for(lambda: len(list(out.rglob("*.arrow"))) >= 2)
    killed.kill_all()
    killed.wait()
    assert not (out / "pack.json").exists()

    code, output = run_slrtune([*command, "--address", "local"], tmp_path)
    assert code == 0, output
    assert "52 clips" in output
    assert "broken.mp4: unreadable: zero bytes" in output
    assert checksums(out) == checksums(tmp_path / "unbroken")
