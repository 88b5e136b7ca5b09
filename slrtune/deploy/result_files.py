"""What all results on disk share: where figures come from; files are whole or not there."""

from __future__ import annotations

import csv
import datetime
import importlib.metadata
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slrtune.data.coverage import Coverage

if TYPE_CHECKING:
    from slrtune.deploy.evaluate_translation import TranslationEvaluation
    from slrtune.deploy.evaluation import Evaluation

_PACKAGES = ("slrtune", "torch", "timm", "numpy")


def coverage_record(of_split: Coverage) -> dict[str, Any]:
    """How much of the one split there is."""
    (coverage,) = of_split.splits.values()
    return {
        "listed": coverage.listed,
        "found": coverage.found,
        "usable": coverage.usable,
        "share": coverage.share,
        "unusable": [clip.__dict__ for clip in of_split.unusable],
    }


def provenance(evaluation: Evaluation | TranslationEvaluation, num_clips: int) -> dict[str, Any]:
    """Checkpoint, cost, settings and versions of an evaluation of ``num_clips`` clips."""
    trained, cost = evaluation.trained, evaluation.cost
    return {
        "checkpoint": {
            "path": str(trained.path),
            "sha256": trained.sha256,
            "metrics": {
                name: value if math.isfinite(value) else None
                for name, value in trained.metrics.items()
            },
            "num_parameters": evaluation.num_parameters,
        },
        "wall_s": cost.wall_s,
        "clips_per_s": num_clips / cost.wall_s,
        "data_wait_share": cost.data_wait_share,
        "peak_memory_gib": cost.peak_memory_gib,
        "device": evaluation.device,
        "precision": evaluation.precision,
        "batch_size": evaluation.batch_size,
        "experiment": trained.experiment.model_dump(mode="json"),
        "versions": {name: importlib.metadata.version(name) for name in _PACKAGES},
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """A CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def whole_file(path: Path, write: Callable[[Path], None]) -> None:
    """Have ``write`` make the file under another name, and put it in place when it is whole."""
    partial = path.with_name(f"{path.name}.partial")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
