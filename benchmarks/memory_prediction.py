"""Predicted against measured peak memory: ``python -m benchmarks.memory_prediction``.

On the CPU the measured peak is that of all tensors of two real training steps; on a GPU, where
there is one, it is ``torch.cuda.max_memory_allocated``, and the configurations are larger.
"""

from __future__ import annotations

import argparse
import itertools
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.record import write_record
from slrtune.config.experiment import Experiment
from slrtune.memory import MemoryPredictor, probe, this_device
from slrtune.training.construction import OutputSizes

_NUM_CLASSES = 100
_CNN = {"backbone": "resnet18", "pretrained": False, "embed_dim": 256, "num_heads": 4}
_VIT = {**_CNN, "backbone": "vit_tiny_patch16_224"}
_TIMESFORMER = {"embed_dim": 192, "num_heads": 3}
_MODELS = {
    "CNN-Transformer (resnet18)": ("cnn_transformer", _CNN),
    "ViT per frame (vit_tiny)": ("cnn_transformer", _VIT),
    "TimeSformer": ("timesformer", _TIMESFORMER),
}
# What is varied besides precision and checkpointing: chunks, batch, depth, frames.
_VARIATIONS: dict[str, list[dict[str, Any]]] = {
    "CNN-Transformer (resnet18)": [
        {"batch_size": 2, "depth": 2},
        {"batch_size": 4, "depth": 6, "frame_chunk_size": 8},
        {"batch_size": 6, "depth": 2, "frame_chunk_size": 8, "micro_batch_size": 3},
        {"batch_size": 1, "depth": 4, "num_frames": 16, "attention_chunk_size": 4},
    ],
    "ViT per frame (vit_tiny)": [
        {"batch_size": 2, "depth": 2},
        {"batch_size": 4, "depth": 4, "frame_chunk_size": 8},
        {"batch_size": 4, "depth": 2, "num_frames": 4, "micro_batch_size": 2},
    ],
    "TimeSformer": [
        {"batch_size": 2, "depth": 3},
        {"batch_size": 6, "depth": 2, "attention_chunk_size": 16, "micro_batch_size": 3},
        {"batch_size": 1, "depth": 4, "num_frames": 16, "attention_type": "joint_space_time"},
        {"batch_size": 4, "depth": 2, "attention_type": "space_only"},
    ],
}


def main() -> None:
    """Predict, measure, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="write no record")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        figures: dict[str, Any] = {"cpu": _compare(torch.device("cpu"), Path(cache), image_size=64)}
        figures["plan"] = _time_plan(Path(cache))
        if torch.cuda.is_available():
            gpu = torch.device("cuda", torch.cuda.current_device())
            figures[this_device().name] = _compare(gpu, Path(cache), image_size=224)
    if not arguments.dry_run:
        print(f"written to {write_record('memory_prediction', figures)}")


def _compare(device: torch.device, cache: Path, image_size: int) -> dict[str, Any]:
    predictor = MemoryPredictor(
        "cpu" if device.type == "cpu" else this_device(), OutputSizes(_NUM_CLASSES)
    )
    rows = []
    print(f"{'model':28}{'precision':11}{'recompute':11}{'predicted':>11}{'measured':>11}  error")
    for name, experiment, settings in _configurations(cache, image_size):
        started_s = time.process_time()
        predicted = predictor.predict(experiment)
        row = {
            "model": name,
            **settings,
            "predicted_gib": predicted.train_allocated_gib,
            "prediction_cpu_s": time.process_time() - started_s,
        }
        measured = probe(experiment, device, sizes=OutputSizes(_NUM_CLASSES))
        row["measured_gib"] = measured.peak_gib
        row["error"] = row["predicted_gib"] / measured.peak_gib - 1.0
        row["predicted_inference_gib"] = predicted.inference_allocated_gib
        row["measured_inference_gib"] = measured.inference_peak_gib
        rows.append(row)
        print(
            f"{name:28}{settings['precision']:11}{settings['activation_checkpointing']!s:11}"
            f"{row['predicted_gib']:11.4f}{row['measured_gib']:11.4f} {row['error']:+7.2%}",
            flush=True,
        )
    errors = [abs(row["error"]) for row in rows]
    inference = [row["predicted_inference_gib"] / row["measured_inference_gib"] - 1 for row in rows]
    summary = {
        "num_configurations": len(rows),
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "median_inference_error": statistics.median(map(abs, inference)),
        "worst_inference_error": max(map(abs, inference)),
        "median_prediction_cpu_s": statistics.median(row["prediction_cpu_s"] for row in rows),
    }
    print(
        f"{len(rows)} configurations on {predictor.device.name}: median error "
        f"{summary['median_error']:.2%}, worst {summary['worst_error']:.2%}; inference "
        f"{summary['median_inference_error']:.2%} and {summary['worst_inference_error']:.2%}"
    )
    return {**summary, "rows": rows}


def _time_plan(cache: Path, num_points: int = 1000) -> dict[str, float]:
    """Seconds to predict many draws from a space around the full-size CNN-Transformer."""
    predictor = MemoryPredictor("A100-80GB", OutputSizes(_NUM_CLASSES))
    draw = random.Random(0)
    started_s = time.process_time()
    for _ in range(num_points):
        section = {
            "pretrained": False,
            "activation_checkpointing": True,
            "depth": draw.randint(2, 8),
            "dropout": draw.choice([0.0, 0.1, 0.2, 0.3, 0.4]),
            "attention_chunk_size": draw.choice([32, 64, 128]),
            "frame_chunk_size": draw.choice([16, 32, 64]),
        }
        training = {"batch_size": draw.choice([16, 32, 64])}
        raw = {"model": {"cnn_transformer": section}, "training": training}
        data = {"cache_dir": cache / "plan"}
        predictor.train_peak_gib(Experiment.model_validate({**raw, "data": data}))
    cpu_s = time.process_time() - started_s
    print(f"{num_points} points of a full-size space: {predictor.num_traces} traces, {cpu_s:.0f} s")
    return {"num_points": num_points, "num_traces": predictor.num_traces, "cpu_s": cpu_s}


def _configurations(
    cache: Path, image_size: int
) -> Iterator[tuple[str, Experiment, dict[str, Any]]]:
    precisions, recompute = ("float32", "bf16"), (False, True)
    for name, precision, checkpointing in itertools.product(_MODELS, precisions, recompute):
        model, section = _MODELS[name]
        for variation in _VARIATIONS[name]:
            settings = {
                "num_frames": 8,
                "precision": precision,
                "activation_checkpointing": checkpointing,
                **variation,
            }
            raw: dict[str, dict[str, Any]] = {
                "data": {"image_size": image_size, "cache_dir": cache},
                "training": {},
                "section": dict(section),
            }
            for key, value in settings.items():
                place = {"num_frames": "data", "precision": "training"}.get(key, "section")
                raw["training" if key.endswith("batch_size") else place][key] = value
            experiment = Experiment.model_validate(
                {
                    "data": raw["data"],
                    "training": raw["training"],
                    "model": {"name": model, model: raw["section"]},
                }
            )
            yield name, experiment, settings


if __name__ == "__main__":
    main()
