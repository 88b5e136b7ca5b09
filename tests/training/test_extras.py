"""What a translator learns beside the text."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slrtune.config.experiment import Experiment
from slrtune.training.trial import train_trial
from tests.data.videos import encode
from tests.spelled_colors import experiment, sentence, settings, spelled
from tests.training.toys import Reports


@pytest.fixture(scope="module")
def dotted_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Spelled sentences under a white dot that wanders; its place is the clip's only landmark."""
    root, rng = tmp_path_factory.mktemp("dotted"), np.random.default_rng(0)
    rows = [("path", "sentence", "split")]
    for number in range(72):
        text = sentence(rng)
        frames = spelled(text, rng)
        turns = np.linspace(0, rng.uniform(2, 6), len(frames)) + rng.uniform(0, 6)
        places = 16 + rng.uniform(2, 11) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        for frame, (x, y) in zip(frames, places.round().astype(int), strict=True):
            frame[y - 3 : y + 3, x - 3 : x + 3] = 255
        encode(root / f"{number}.mp4", frames)
        np.save(root / f"{number}.npy", places.round()[:, None] / 32)
        rows.append((f"{number}.mp4", text, "val" if number >= 64 else "train"))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def dotted(root: Path, cache_dir: Path, **training: Any) -> Experiment:
    values = settings(root, cache_dir)
    values["data"] |= {"keypoints": str(root)}
    values["model"]["dense_vit"] |= {"patch_size": 8, "embed_dim": 64}
    values["training"] |= {"max_epochs": 8, **training}
    return Experiment.model_validate(values)


def test_a_translator_learns_where_the_landmarks_are(
    dotted_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    reports = Reports()
    train_trial(dotted(dotted_root, shared_cache, keypoint_weight=10.0), tmp_path, reports)
    print([r["val_keypoint_error"] for r in reports], [r["epoch"] for r in reports])


def test_a_translator_learns_which_glosses_there_are(
    spelled_root: Path, shared_cache: Path, tmp_path: Path
) -> None:
    reports = Reports()
    train_trial(experiment(spelled_root, shared_cache, gloss_weight=1.0), tmp_path, reports)
    print([r["val_gloss_recall"] for r in reports], [r["val_wer"] for r in reports])
