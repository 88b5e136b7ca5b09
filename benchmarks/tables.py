"""The tables of docs/models_measured.md, from the records of `benchmarks.models`.

python -m benchmarks.tables
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).parent.parent
_RESULTS = _ROOT / "benchmarks" / "results"
_DOCUMENT = _ROOT / "docs" / "models_measured.md"

_INTRODUCTION = """# Our models against what users have, measured

Written by `python -m benchmarks.models --docs`; the records are in `benchmarks/results/`. In each
section all contenders have the same weights and settings, agree in their outputs, and take their
steps in turn within one process; a step is forward, backward and AdamW, times are medians.
*Activations* is the highest memory of a step beyond weights, optimizer state and batch.
"""


def write_tables() -> Path:
    """Write the document from every record that there is."""
    parts = [_INTRODUCTION]
    for path in sorted(_RESULTS.glob("models_*.json")):
        record = json.loads(path.read_text())
        figures, machine = record["figures"], record["machine"]
        settings = figures["settings"]
        where = machine["gpu"] or f"{machine['num_cpus']} CPU cores"
        precision = "bfloat16 autocast" if settings["amp"] else "float32"
        parts.append(
            f"## {where}, {precision}\n\n"
            f"{settings['batch']} clips of {settings['frames']} frames of {settings['image_size']} "
            f"px, {machine['date']}, commit {machine['git_commit']}, "
            f"torch {machine['versions']['torch']}.\n"
        )
        parts += [
            _section(title, figures[name], columns)
            for name, title, columns in _SECTIONS
            if name in figures
        ]
    _DOCUMENT.write_text("\n".join(parts))
    return _DOCUMENT


_MODEL_COLUMNS = {
    "model": "model",
    "clips_per_s": "clips/s",
    "speed_ratio": "speed, ratio",
    "cpu_ratio": "CPU time, ratio",
    "activation_gib": "activations (GiB)",
    "activation_ratio": "activations, ratio",
    "peak_gib": "peak (GiB)",
}
_SECTIONS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("timesformer", "TimeSformer-B", _MODEL_COLUMNS),
    ("cnn_transformer", "CNN-Transformer (ResNet-50, 512 wide, 6 deep)", _MODEL_COLUMNS),
    (
        "attention",
        "Attention alone, 12 heads of 64, against a plain loop of softmax attention",
        {
            "length": "tokens",
            "batch": "sequences",
            "variant": "attention",
            "chunk_size": "chunk",
            "step_ms": "forward + backward (ms)",
            "speed_ratio": "speed against plain, unchunked",
            "peak_mib": "peak (MiB)",
            "peak_ratio": "peak against plain, unchunked",
        },
    ),
)


def _section(title: str, rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    lines = [
        f"### {title}\n",
        f"| {' | '.join(columns.values())} |",
        f"|{'---|' * len(columns)}",
        *(f"| {' | '.join(_cell(row[key]) for key in columns)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    return "–" if value is None else str(value)


if __name__ == "__main__":
    print(write_tables())
