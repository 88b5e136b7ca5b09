"""What a trial leaves for people to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from slrtune.data.loader import ClipBatch
from slrtune.training.exhibit import EXHIBIT_FILE, GlossExhibit


def test_a_run_leaves_the_confusions_and_some_clips_of_its_best_epoch(colors_run: Path) -> None:
    best = torch.load(colors_run / "checkpoints" / "best.pt", weights_only=True)
    with np.load(colors_run / EXHIBIT_FILE) as shown:
        counts, glosses, frames = shown["counts"], shown["glosses"], shown["frames"]
        assert list(glosses) == best["glosses"]
        assert counts.sum() == 12  # 4 colours, 3 validation clips of each
        assert np.trace(counts) / 12 == best["metrics"]["val_top1"]
        assert frames.shape == (8, 4, 32, 32, 3)
        assert np.all((shown["probabilities"] >= 0.25) & (shown["probabilities"] <= 1))


def test_the_same_clips_are_shown_in_whatever_batches_they_come(tmp_path: Path) -> None:
    frames = torch.randint(0, 256, (50, 6, 3, 200, 100), dtype=torch.uint8)
    labels = torch.arange(50) % 5
    logits = torch.nn.functional.one_hot(labels, 5).float()
    exhibit = GlossExhibit(tmp_path / "a.npz", list("abcde"), torch.device("cpu"))
    shown = []
    for size in (50, 7):
        exhibit.begin()
        for ids in torch.arange(50).split(size):
            exhibit.add(ClipBatch(frames[ids], labels[ids], ids), logits[ids])
        exhibit.end()
        exhibit.save()
        with np.load(tmp_path / "a.npz") as found:
            shown.append({name: found[name] for name in found.files})
    assert all(np.array_equal(shown[0][name], shown[1][name]) for name in shown[0])
    assert shown[0]["frames"].shape == (8, 4, 67, 34, 3)
    assert np.array_equal(shown[0]["meant"], shown[0]["said"])
