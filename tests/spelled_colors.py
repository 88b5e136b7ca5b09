"""Sentences that are spelled in colours, as real MP4 files: what a tiny translator learns fast."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from slrtune.config.experiment import Experiment
from tests.data.videos import encode

COLORS = {
    "r": (220, 30, 30), "g": (30, 200, 40), "b": (40, 60, 230), "y": (220, 210, 30),
    "c": (30, 200, 210), "m": (210, 40, 200), " ": (20, 20, 20),
}  # fmt: skip
_FRAMES_PER_LETTER = 2
_SPLITS = {"train": 128, "val": 8, "test": 8}


def spelled(text: str, rng: np.random.Generator) -> np.ndarray:
    """uint8 (T, 32, 32, 3): two noisy frames of its colour for each letter."""
    hues = np.array([COLORS[letter] for letter in text for _ in range(_FRAMES_PER_LETTER)])
    noise = rng.normal(0, 15, (len(hues), 32, 32, 3))
    return np.clip(hues[:, None, None] + noise, 0, 255).astype(np.uint8)


def sentence(rng: np.random.Generator) -> str:
    """Four or five words of one or two letters; no letter twice in a row."""
    words, last = [], ""
    for _ in range(rng.integers(4, 6)):
        word = ""
        for _ in range(rng.integers(1, 3)):
            last = rng.choice([letter for letter in "rgbycm" if letter != last])
            word += last
        words.append(word)
    return " ".join(words)


def write_sentences(root: Path) -> Path:
    """Videos and ``labels.csv``; names begin with - or _, and each clip has glosses, too."""
    rng = np.random.default_rng(0)
    rows = []
    for split, count in _SPLITS.items():
        for number in range(count):
            text, path = sentence(rng), f"{'-_'[number % 2]}{split}_{number}.mp4"
            encode(root / path, spelled(text, rng))
            glosses = " ".join(f"G-{word[0].upper()}" for word in text.split())
            rows.append((path, text, glosses, split))
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "sentence", "label", "split"), *rows])
    return root


def settings(root: Path, cache_dir: Path) -> dict[str, Any]:
    """An experiment that spells its training sentences after some seconds."""
    plain = {"crop_scale_min": 1.0, "rotation_degrees": 0.0, "color_jitter": 0.0}
    return {
        "data": {
            "source": "csv", "root": str(root), "cache_dir": str(cache_dir), "image_size": 32,
            "num_frames": 28, "train_sampling": "uniform", "augmentation": plain,
        },
        "model": {
            "name": "dense_vit",
            "dense_vit": {
                "size": "tiny", "embed_dim": 32, "depth": 1, "num_queries": None, "pool_heads": 4,
                "hidden_dim": 64, "decoder_depth": 1, "decoder_heads": 4, "dropout": 0.0,
                "max_text_length": 24, "use_ctc_positions": True,
            },
        },
        "training": {
            "max_epochs": 36, "batch_size": 4, "learning_rate": 2e-3, "label_smoothing": 0.05,
            "ctc_weight": 0.5, "ce_weight": 0.5, "weight_decay": 1e-3,
        },
        "text": {"tokenizer": "char"},
        "decoding": {"method": "greedy", "max_length": 20},
    }  # fmt: skip


def experiment(root: Path, cache_dir: Path, **training: Any) -> Experiment:
    """The same, checked; with other settings of training."""
    values = settings(root, cache_dir)
    values["training"] |= training
    return Experiment.model_validate(values)
