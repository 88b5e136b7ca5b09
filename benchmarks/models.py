"""Our models against what users have: clips/s and peak memory, side by side in one run.

    python -m benchmarks.models [--only timesformer cnn_transformer attention] [--rounds 5]
        [--batch 2] [--frames 8] [--image-size 224] [--amp] [--docs]

- timesformer: TimeSformer-B against Hugging Face's `TimesformerForVideoClassification`.
- cnn_transformer: the defaults against timm's ResNet-50 + `nn.TransformerEncoder`.
- attention: `slrtune.models.attention` against a plain loop of chunked softmax attention, over
  sequence lengths and chunk sizes: when chunks help and when they cost.

Contenders have the same weights and settings; their outputs are compared before anything is
measured. A step is forward, backward and AdamW. Writes benchmarks/results/models_<device>….json and
with --docs the tables of docs/models_measured.md. On a GPU where there is one, else on the CPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.contenders import (
    NUM_CLASSES,
    HuggingFaceLogits,
    chunked_softmax_attention,
    timesformer_like,
    timm_and_torch_like,
)
from benchmarks.measure import TrainingStep, compare, peak_gib_of, take_turns
from benchmarks.record import write_record
from benchmarks.tables import write_tables
from slrtune.models import create_model
from slrtune.models.attention import attention
from slrtune.models.cnn_transformer import CNNTransformer

# Tokens of a clip's frames, of one frame of ViT-B/16, of 8 and of 16 such frames.
_LENGTHS = (16, 196, 1568, 3136)
_TOKENS_PER_STEP = 3136
_CHUNK_SIZES = (None, 32, 128, 512)
_OUTPUTS_DIFFER = 1e-4

Row = dict[str, Any]


def main() -> None:
    """Measure the chosen sections, then print and write them."""
    arguments = _arguments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    sections: dict[str, Callable[[], list[Row]]] = {
        "timesformer": lambda: _timesformer(arguments, device),
        "cnn_transformer": lambda: _cnn_transformer(arguments, device),
        "attention": lambda: _attention(arguments, device),
    }
    figures: dict[str, Any] = {"settings": vars(arguments)}
    for name in arguments.only:
        figures[name] = sections[name]()
        for row in figures[name]:
            print(name, row, flush=True)
    precision = "_bf16" if arguments.amp else ""
    subset = "" if len(arguments.only) == len(sections) else "_" + "_".join(arguments.only)
    path = write_record(f"models_{device.type}{precision}{subset}", figures)
    print(f"written: {path}")
    if arguments.docs:
        print(f"written: {write_tables()}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    names = ("timesformer", "cnn_transformer", "attention")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="sections")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each contender, in turn")
    parser.add_argument("--batch", type=int, default=2, help="clips")
    parser.add_argument("--frames", type=int, default=8, help="frames of a clip")
    parser.add_argument("--image-size", type=int, default=224, help="pixels")
    parser.add_argument("--lengths", type=int, nargs="*", default=_LENGTHS, help="of attention")
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast, for all contenders")
    parser.add_argument("--docs", action="store_true", help="write docs/models_measured.md")
    return parser.parse_args()


def _timesformer(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    theirs = HuggingFaceLogits(arguments.frames, arguments.image_size)
    contenders: dict[str, nn.Module] = {"Hugging Face": theirs}
    for checkpointing in (False, "selective", True):
        contenders[f"ours, checkpointing {checkpointing}".lower()] = timesformer_like(
            theirs, activation_checkpointing=checkpointing
        )
    return _side_by_side(contenders, "Hugging Face", arguments, device)


def _cnn_transformer(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    settings = {"pretrained": False, "dropout": 0.0}
    ours = _new_cnn_transformer(arguments, **settings)
    contenders: dict[str, nn.Module] = {"timm + torch": timm_and_torch_like(ours), "ours": ours}
    small = _new_cnn_transformer(
        arguments, activation_checkpointing=True, frame_chunk_size=4, **settings
    )
    small.load_state_dict(ours.state_dict())
    contenders["ours, checkpointing true, frame chunks of 4"] = small
    return _side_by_side(contenders, "timm + torch", arguments, device)


def _new_cnn_transformer(arguments: argparse.Namespace, **settings: Any) -> CNNTransformer:
    model = create_model(
        "cnn_transformer",
        num_classes=NUM_CLASSES,
        num_frames=arguments.frames,
        image_size=arguments.image_size,
        **settings,
    )
    assert isinstance(model, CNNTransformer)
    return model


def _side_by_side(
    contenders: dict[str, nn.Module],
    baseline: str,
    arguments: argparse.Namespace,
    device: torch.device,
) -> list[Row]:
    shape = (arguments.batch, arguments.frames, 3, *(2 * [arguments.image_size]))
    frames = torch.randn(shape, device=device)
    labels = torch.randint(NUM_CLASSES, (arguments.batch,), device=device)
    for model in contenders.values():
        model.to(device)
    _require_equal_logits(contenders, baseline, frames)
    steps = {
        name: TrainingStep(model, frames, labels, arguments.amp)
        for name, model in contenders.items()
    }
    costs = compare(steps, arguments.rounds)
    base = costs[baseline]
    return [
        {
            "model": name,
            "clips_per_s": round(arguments.batch / cost.step_s, 4),
            "speed_ratio": round(base.step_s / cost.step_s, 3),
            "cpu_ratio": round(base.step_cpu_s / cost.step_cpu_s, 3),
            "activation_ratio": round(cost.activation_gib / base.activation_gib, 3),
            **{key: round(value, 3) for key, value in dataclasses.asdict(cost).items()},
        }
        for name, cost in costs.items()
    ]


@torch.no_grad()
def _require_equal_logits(contenders: dict[str, nn.Module], baseline: str, frames: Tensor) -> None:
    wanted = contenders[baseline].eval()(frames[:1])
    for name, model in contenders.items():
        difference = (model.eval()(frames[:1]) - wanted).abs().max().item()
        if difference > _OUTPUTS_DIFFER * wanted.abs().max().item():
            raise RuntimeError(f"{name} and {baseline} must agree, but differ by {difference:.2g}")


def _attention(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    """Forward and backward of attention alone; the peak is beyond query, key and value."""
    rows = []
    for length in arguments.lengths:
        batch = max(1, _TOKENS_PER_STEP // length)
        inputs = [
            torch.randn(batch, 12, length, 64, device=device, requires_grad=True) for _ in range(3)
        ]
        rows += [
            {"length": length, "batch": batch, **row}
            for row in _attention_rows(inputs, arguments.rounds, device)
        ]
    return rows


def _attention_rows(inputs: Sequence[Tensor], num_rounds: int, device: torch.device) -> list[Row]:
    length = inputs[0].shape[2]
    variants: dict[tuple[str, int | None], Callable[..., Tensor]] = {}
    for chunk_size in _CHUNK_SIZES:
        if chunk_size is None or chunk_size < length:
            variants |= _variants(chunk_size)
    wanted = attention(*inputs).detach()
    for name, variant in variants.items():
        difference = (variant(*inputs) - wanted).abs().max().item()
        if difference > _OUTPUTS_DIFFER:
            raise RuntimeError(f"{name}: attention must agree, but differs by {difference:.2g}")

    def action(variant: Callable[..., Tensor]) -> Callable[[], None]:
        def forward_backward() -> None:
            variant(*inputs).sum().backward()
            for tensor in inputs:
                tensor.grad = None

        return forward_backward

    actions = {name: action(variant) for name, variant in variants.items()}
    peaks = {name: peak_gib_of(run, list(inputs), device)[0] for name, run in actions.items()}
    times = take_turns({str(name): run for name, run in actions.items()}, num_rounds, device)
    medians = {name: statistics.median(s for s, _ in times[str(name)]) for name in actions}
    base = ("plain", None)
    return [
        {
            "variant": kind,
            "chunk_size": chunk_size,
            "step_ms": round(1e3 * medians[kind, chunk_size], 2),
            "peak_mib": round(1024 * peaks[kind, chunk_size], 1),
            "speed_ratio": round(medians[base] / medians[kind, chunk_size], 2),
            "peak_ratio": round(peaks[kind, chunk_size] / peaks[base], 3),
        }
        for kind, chunk_size in variants
    ]


def _variants(chunk_size: int | None) -> dict[tuple[str, int | None], Callable[..., Tensor]]:
    variants: dict[tuple[str, int | None], Callable[..., Tensor]] = {
        ("plain", chunk_size): lambda *qkv: chunked_softmax_attention(*qkv, chunk_size),
        ("ours", chunk_size): lambda *qkv: attention(*qkv, chunk_size=chunk_size),
    }
    if chunk_size is not None:
        variants["ours, recomputed", chunk_size] = lambda *qkv: attention(
            *qkv, chunk_size=chunk_size, recompute=True
        )
    return variants


if __name__ == "__main__":
    main()
