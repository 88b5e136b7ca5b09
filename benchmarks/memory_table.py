"""The documents' table of memory, predicted: ``python -m benchmarks.memory_table``.

bf16 autocast, activation checkpointing, 16 frames of 224 px; no GPU is needed. The figures are what
``torch.cuda.max_memory_allocated`` is expected to say.
"""

from __future__ import annotations

import argparse
import tempfile
from typing import Any

from benchmarks.record import write_record
from slrtune.config.experiment import Experiment
from slrtune.memory import MemoryPredictor
from slrtune.training.construction import OutputSizes

_NUM_CLASSES = 100
_ROWS: dict[str, tuple[str, dict[str, Any], int, float, float]] = {
    # model, settings, batch, most GB to train, most GB to infer
    "CNN-Transformer": ("cnn_transformer", {"frame_chunk_size": 16}, 8, 2.5, 0.5),
    "TimeSformer-B": ("timesformer", {}, 8, 4.0, 0.8),
    "dense ViT-L": (
        "cnn_transformer",
        {"backbone": "vit_large_patch16_224", "frame_chunk_size": 8},
        16,
        8.0,
        1.6,
    ),
}


def main() -> None:
    """Predict and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="A100-80GB", help="GPU type")
    parser.add_argument("--dry-run", action="store_true", help="write no record")
    arguments = parser.parse_args()
    predictor = MemoryPredictor(arguments.device, OutputSizes(_NUM_CLASSES))
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name, (model, settings, batch, most_train_gb, most_inference_gb) in _ROWS.items():
            section = {**settings, "pretrained": False, "activation_checkpointing": True}
            experiment = Experiment.model_validate(
                {
                    "data": {"num_frames": 16, "image_size": 224, "cache_dir": cache},
                    "model": {"name": model, model: section},
                    "training": {"batch_size": batch, "precision": "bf16"},
                }
            )
            predicted = predictor.predict(experiment)
            row = {
                "model": name,
                "batch_size": batch,
                **settings,
                "train_gb": predicted.train_allocated_gib * 2**30 / 1e9,
                "most_train_gb": most_train_gb,
                "inference_gb": predicted.inference_allocated_gib * 2**30 / 1e9,
                "most_inference_gb": most_inference_gb,
                "train_parts_gib": predicted.parts,
                "inference_parts_gib": predicted.inference_parts,
            }
            rows.append(row)
            print(
                f"{name:16} batch {batch:2}: train {row['train_gb']:.2f} GB (at most "
                f"{most_train_gb}), inference {row['inference_gb']:.2f} GB (at most "
                f"{most_inference_gb}), predicted",
                flush=True,
            )
    if not arguments.dry_run:
        how = "predicted from fake tensors, not measured"
        figures = {"how": how, "device": predictor.device.name, "rows": rows}
        print(f"written to {write_record('memory_table', figures)}")


if __name__ == "__main__":
    main()
