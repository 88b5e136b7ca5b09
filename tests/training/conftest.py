"""Small videos that a trial learns from in a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from slrtune.config.experiment import Experiment
from slrtune.data.prepare import prepare_data
from slrtune.data.synth.mp4 import write_mp4

GLOSSES = ("blue", "green", "red")


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> dict[str, Any]:
    """Settings of a folder of noisy videos in the colour of their gloss, prepared once."""
    root = tmp_path_factory.mktemp("videos")
    noise = np.random.default_rng(0)
    for channel, gloss in enumerate(reversed(GLOSSES)):
        for split, num_clips in (("train", 6), ("val", 2)):
            (root / split / gloss).mkdir(parents=True)
            for clip in range(num_clips):
                frames = noise.integers(0, 128, (4, 32, 32, 3), dtype=np.uint8)
                frames[..., channel] += 100
                write_mp4(root / split / gloss / f"{clip}.mp4", frames, fps=25)
    settings = {"source": "class_folders", "root": root, "num_frames": 2, "image_size": 32}
    settings["cache_dir"] = tmp_path_factory.mktemp("cache")
    prepare_data(Experiment.model_validate({"data": settings}).data, num_workers=1)
    return settings
