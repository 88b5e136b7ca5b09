"""The dense ViT translator in figures: size, memory of a step, speed of the encoder on a CPU.

    python -m benchmarks.translator [--rounds 3] [--size large] [--overfit]

- parameters of the named sizes, as built.
- memory of one training step of `large`, batch 16 x 16 frames x 224 px, predicted for a GPU.
- seconds and CPU-seconds of the encoder for a video of 16 frames, in float32 and in bf16, in turn
  with a plain `nn.TransformerEncoder` of the same size in float32; and how far the logits of bf16
  are from those of float32.
- with --overfit: BLEU-4 on 32 spelled sentences that it has learnt by heart.

Writes benchmarks/results/translator.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmarks.measure import take_turns
from benchmarks.record import write_record
from slrtune.config.experiment import Experiment
from slrtune.config.model import DENSE_VIT_SHAPES, DenseViTSize, dense_vit_shape
from slrtune.data.prepare import prepare_data
from slrtune.deploy.evaluate_translation import evaluate_translation
from slrtune.deploy.trained_model import read_trained_model
from slrtune.memory import predict
from slrtune.models import create_model
from slrtune.models.dense_vit import DenseViT
from slrtune.training.construction import OutputSizes
from slrtune.training.precision import Precision
from slrtune.training.trial import train_trial

_VOCAB_SIZE, _NUM_FRAMES, _IMAGE_SIZE = 8000, 16, 224
_CHUNK_SIZE, _GPU = 4, "RTX 4090"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", choices=list(DENSE_VIT_SHAPES), default="large")
    parser.add_argument("--overfit", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    figures: dict[str, Any] = {
        "settings": vars(arguments),
        "parameters": {size: _parameters(size) for size in DENSE_VIT_SHAPES},
        "training_step": _memory(),
        "encoder": _encoder_speed(arguments.size, arguments.rounds),
    }
    if arguments.overfit:
        figures["overfit"] = _overfit()
    for name, rows in figures.items():
        print(name, rows)
    print(write_record("translator", figures))


def _translator(size: DenseViTSize, **settings: Any) -> DenseViT:
    model = create_model(
        "dense_vit", vocab_size=_VOCAB_SIZE, num_frames=_NUM_FRAMES, image_size=_IMAGE_SIZE,
        size=size, **settings,
    )  # fmt: skip
    return cast(DenseViT, model)


def _parameters(size: DenseViTSize) -> dict[str, float]:
    with torch.device("meta"):
        model = _translator(size, pool_heads=16)
    counts = {
        "encoder": sum(p.numel() for p in model.backbone.parameters()),
        "whole": sum(p.numel() for p in model.parameters()),
    }
    return {
        **{f"{name}_millions": count / 1e6 for name, count in counts.items()},
        "encoder_float32_mb": 4 * counts["encoder"] / 1e6,
    }


def _memory() -> dict[str, Any]:
    """One training step with a whole batch at once, frames in chunks that are recomputed."""
    section = {"frame_chunk_size": _CHUNK_SIZE, "activation_checkpointing": True}
    with tempfile.TemporaryDirectory() as cache_dir:
        experiment = Experiment.model_validate(
            {
                "data": {
                    "source": "fingerspelling_words",
                    "num_frames": _NUM_FRAMES,
                    "image_size": _IMAGE_SIZE,
                    "cache_dir": cache_dir,
                },
                "model": {"name": "dense_vit", "dense_vit": section},
                "training": {"batch_size": 16},
            }
        )
        sizes = OutputSizes(0, vocab_size=_VOCAB_SIZE, text_length=32)
        found = predict(experiment, _GPU, sizes=sizes)
    return {
        "gpu": _GPU,
        "batch_size": 16,
        "frame_chunk_size": _CHUNK_SIZE,
        "peak_gb": found.train_peak_gib * 2**30 / 1e9,
        "allocated_gb": found.train_allocated_gib * 2**30 / 1e9,
        "parts_gib": found.parts,
    }


class _PlainEncoder(nn.Module):
    """Patches and class token through `nn.TransformerEncoder`, frame by frame."""

    def __init__(self, size: DenseViTSize) -> None:
        super().__init__()
        shape = dense_vit_shape(size)
        width, patch, heads = shape.features, shape.patch_size or 16, shape.num_heads or 16
        self.patches = nn.Conv2d(3, width, patch, patch)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.0, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.encoder = nn.TransformerEncoder(
            layer, shape.depth or 12, nn.LayerNorm(width), enable_nested_tensor=False
        )
        num_tokens = (_IMAGE_SIZE // patch) ** 2 + 1
        self.position = nn.Parameter(torch.zeros(1, num_tokens, width))
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, D)."""
        tokens = self.patches(frames).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        encoded: Tensor = self.encoder(tokens + self.position)
        return encoded[:, 0]


@torch.inference_mode()
def _encoder_speed(size: DenseViTSize, num_rounds: int) -> dict[str, Any]:
    model, plain = _translator(size).eval(), _PlainEncoder(size).eval()
    frames = torch.randn(1, _NUM_FRAMES, 3, _IMAGE_SIZE, _IMAGE_SIZE)
    outcomes: dict[str, Tensor] = {}

    def ours(name: str) -> None:
        with Precision(name, "cpu").autocast(is_inference=True):  # type: ignore[arg-type]
            outcomes[name] = model.encode(frames).ctc_logits.float()

    contenders = {
        "plain_float32": lambda: plain(frames[0]),
        "ours_float32": lambda: ours("float32"),
        "ours_bf16": lambda: ours("bf16"),
    }
    for run in contenders.values():
        run()
    times = take_turns(contenders, num_rounds, torch.device("cpu"))
    rows: dict[str, Any] = {
        name: {
            "wall_s": statistics.median(wall_s for wall_s, _ in taken),
            "cpu_s": statistics.median(cpu_s for _, cpu_s in taken),
        }
        for name, taken in times.items()
    }
    error = (outcomes["bf16"] - outcomes["float32"]).norm() / outcomes["float32"].norm()
    plain_s = rows["plain_float32"]
    for name in ("ours_float32", "ours_bf16"):
        rows[name]["of_plain_wall"] = rows[name]["wall_s"] / plain_s["wall_s"]
        rows[name]["of_plain_cpu"] = rows[name]["cpu_s"] / plain_s["cpu_s"]
    return {**rows, "logit_error_bf16": float(error), "size": size, "num_frames": _NUM_FRAMES}


def _overfit() -> dict[str, Any]:
    """32 sentences of one signer, judged on themselves."""
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment.model_validate(
            {
                "data": {
                    "source": "fingerspelling_words", "synth_num_signers": 3,
                    "synth_clips_per_signer": 32, "image_size": 64, "pack_size_px": 64,
                    "num_frames": 40, "cache_dir": f"{folder}/cache",
                    "augmentation": {"crop_scale_min": 0.9, "rotation_degrees": 2,
                                     "color_jitter": 0},
                },
                "model": {"name": "dense_vit", "dense_vit": {
                    "size": "tiny_resnet", "hidden_dim": 192, "num_queries": None,
                    "pool_heads": 4, "decoder_depth": 2, "decoder_dim": 128, "decoder_heads": 4,
                    "use_ctc_positions": True, "dropout": 0.0, "max_text_length": 32,
                }},
                "training": {"max_epochs": 80, "batch_size": 4, "learning_rate": 1e-3,
                             "encoder_learning_rate": 2e-3, "weight_decay": 1e-3,
                             "ctc_weight": 0.5, "ce_weight": 0.5, "label_smoothing": 0.05},
                "text": {"tokenizer": "char"},
                "decoding": {"method": "greedy", "max_length": 16},
            }
        )  # fmt: skip
        losses: list[float] = []

        def report(metrics: dict[str, float]) -> bool:
            losses.append(metrics["train_loss"])
            return True

        ended = train_trial(experiment, Path(folder), report)
        # validation never looks at these: the last weights know them best
        last = torch.load(Path(folder) / "checkpoints" / "last.pt", weights_only=True)
        best = torch.load(ended.best_checkpoint, weights_only=True)
        torch.save({**best, "model": last["model"]}, Path(folder) / "last_as_best.pt")
        trained = read_trained_model(Path(folder) / "last_as_best.pt")
        prepared = prepare_data(experiment.data, needs="sentence")
        found = evaluate_translation(
            trained, prepared, "train", ("ctc", "greedy", "beam"), device=torch.device("cpu")
        )
    return {
        "num_sentences": len(found.records),
        "num_epochs": ended.last_epoch,
        "train_s": ended.wall_s,
        **{method: figures["bleu4"] for method, figures in found.metrics.items()},
    }


if __name__ == "__main__":
    main()
