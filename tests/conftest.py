"""Shared real data: a few clips in MP4 files, once per test session."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from xdist.scheduler import LoadScopeScheduling

from slrtune.config.validate import load_experiment
from slrtune.training.trial import train_trial
from tests.cli_process import nothing_left_behind
from tests.data.videos import encode
from tests.spelled_colors import experiment as spelled_experiment
from tests.spelled_colors import write_sentences

_HUES = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (40, 60, 210), "grey": (120,) * 3}


class RayTestsTogether(LoadScopeScheduling):
    """Hands out tests one by one, but all Ray tests to one process, and first.

    Two Ray clusters on one host confuse each other. (`--dist loadgroup` would do the same by a
    mark, but pytest-xdist 3.8 does not see the mark under pytest 9.2.)
    """

    def _split_scope(self, nodeid: str) -> str:
        file = self.config.rootpath / nodeid.partition("::")[0]
        return "ray" if _has_ray_tests(file) else nodeid


@cache
def _has_ray_tests(file: Path) -> bool:
    return "pytest.mark.ray" in file.read_text(encoding="utf-8")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> RayTestsTogether:
    """How pytest-xdist shares out the tests where it is asked to."""
    return RayTestsTogether(config, log)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    with nothing_left_behind():
        yield


@pytest.fixture(scope="session")
def colors_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of real MP4 files: four colours that a tiny network learns in seconds."""
    root = tmp_path_factory.mktemp("colors")
    rng = np.random.default_rng(0)
    for split, count in {"train": 8, "val": 3, "test": 2}.items():
        for name, hue in _HUES.items():
            for take in range(count):
                noise = rng.normal(0, 25, (10, 48, 48, 3))
                frames = np.clip(np.array(hue) + noise, 0, 255).astype(np.uint8)
                encode(root / split / name / f"{take}.mp4", frames)
    return root


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip cache that tests share, as trials of a sweep do."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def colors_experiment(colors_root: Path, shared_cache: Path, tmp_path: Path) -> Path:
    """An experiment file on the colours, small enough for a second per epoch; runs in tmp_path."""
    return _write_experiment(tmp_path, colors_root, shared_cache)


@pytest.fixture(scope="session")
def colors_run(
    colors_root: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a run on the colours, as `slrtune train` leaves it. Copy it before writing."""
    folder = tmp_path_factory.mktemp("run")
    experiment = load_experiment(_write_experiment(folder, colors_root, shared_cache))
    train_trial(experiment, folder, lambda metrics: True)
    return folder


@pytest.fixture(scope="session")
def spelled_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real MP4 files that spell sentences in colours, with labels.csv."""
    return write_sentences(tmp_path_factory.mktemp("spelled"))


@pytest.fixture(scope="session")
def spelled_run(
    spelled_root: Path, shared_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The folder of a translator that has learnt to read them. Copy it before writing."""
    folder = tmp_path_factory.mktemp("translator")
    train_trial(spelled_experiment(spelled_root, shared_cache), folder, lambda metrics: True)
    return folder


def _write_experiment(folder: Path, colors_root: Path, shared_cache: Path) -> Path:
    settings = {
        "runs_dir": str(folder / "runs"),
        "data": {
            "source": "class_folders",
            "root": str(colors_root),
            "cache_dir": str(shared_cache),
            "num_frames": 4,
            "image_size": 32,
        },
        "model": {
            "cnn_transformer": {
                "backbone": "test_resnet",
                "pretrained": False,
                "embed_dim": 32,
                "depth": 1,
                "num_heads": 2,
            },
            "timesformer": {"embed_dim": 32, "depth": 1, "num_heads": 2},
        },
        "training": {"max_epochs": 4, "batch_size": 8, "learning_rate": 0.003},
        "sweep": {"max_trials": 4, "asha": {"grace_epochs": 1, "reduction_factor": 2}},
    }
    path = folder / "colors.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path
