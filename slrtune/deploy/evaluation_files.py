"""An evaluation on disk: figures for machines, every clip's outcome, and a picture."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slrtune.config.json_file import write_json
from slrtune.deploy.confusion_figure import draw_confusion_matrix
from slrtune.deploy.evaluation import Evaluation
from slrtune.deploy.result_files import coverage_record, provenance, whole_file, write_rows
from slrtune.training.evaluation import NO_PREDICTION
from slrtune.training.metrics import NEVER, TOP_KS

METRICS_FILE, PREDICTIONS_FILE = "metrics.json", "predictions.csv"
MATRIX_FILE, PICTURE_FILE = "confusion_matrix.csv", "confusion_matrix.png"
NO_PREDICTION_NAME = "(no prediction)"


def write_evaluation(evaluation: Evaluation, folder: Path) -> None:
    """Write all files into ``folder``, each whole or not at all; ``metrics.json`` comes last.

    Raises:
        OSError: the folder cannot be written to.
    """
    matrix = evaluation.confusion_matrix.numpy()
    title = (
        f"Split {evaluation.split}, {len(evaluation.predictions)} clips: "
        f"top-1 {evaluation.counts.top(1):.1%}"
    )
    whole_file(
        folder / PREDICTIONS_FILE, lambda path: write_rows(path, _prediction_rows(evaluation))
    )
    whole_file(folder / MATRIX_FILE, lambda path: write_rows(path, _matrix_rows(evaluation)))
    whole_file(
        folder / PICTURE_FILE,
        lambda path: draw_confusion_matrix(path, matrix, evaluation.glosses, title),
    )
    write_json(folder / METRICS_FILE, metrics_record(evaluation))


def metrics_record(evaluation: Evaluation) -> dict[str, Any]:
    """All figures and where they come from, as JSON knows it."""
    counts = evaluation.counts
    return {
        "split": evaluation.split,
        "num_clips": len(evaluation.predictions),
        "num_glosses": len(evaluation.per_gloss),
        **{f"top{k}": counts.top(k) for k in TOP_KS},
        **{f"top{k}_per_class": counts.top_per_class(k) for k in TOP_KS},
        "top1_interval_95": list(evaluation.top1_interval),
        "loss": evaluation.loss,
        "num_clips_without_prediction": evaluation.num_invalid,
        "glosses_without_clips": list(evaluation.empty_glosses),
        "glosses_unknown_to_the_model": list(evaluation.unknown_glosses),
        "num_clips_of_unknown_glosses": evaluation.num_of_unknown,
        "coverage": coverage_record(evaluation.coverage),
        "per_gloss": [row._asdict() for row in evaluation.per_gloss],
        "per_signer": [{**row._asdict(), "top1": row.top1} for row in evaluation.per_signer],
        "confusions": [row._asdict() for row in evaluation.confusions],
        "views": {
            "num_temporal": evaluation.views.num_temporal,
            "num_crops": evaluation.views.num_crops,
        },
        **provenance(evaluation, len(evaluation.predictions)),
    }


def _prediction_rows(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    predictions = evaluation.predictions
    num_kept = predictions.top_labels.shape[1]
    yield (
        "path", "signer", "gloss", "rank",
        *(f"{name}_{place}" for place in range(1, num_kept + 1) for name in _PREDICTED),
    )  # fmt: skip
    for record, rank, labels, probabilities in zip(
        evaluation.records,
        predictions.ranks.tolist(),
        predictions.top_labels.tolist(),
        predictions.top_probabilities.tolist(),
        strict=True,
    ):
        kept: list[object] = []
        for label, probability in zip(labels, probabilities, strict=True):
            has_one = label != NO_PREDICTION
            kept += (evaluation.glosses[label], f"{probability:.6f}") if has_one else ("", "")
        place = "" if rank == NEVER else rank + 1
        yield (record.path, record.signer or "", record.gloss, place, *kept)


_PREDICTED = ("predicted", "probability")


def _matrix_rows(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    yield ("gloss", *evaluation.glosses, NO_PREDICTION_NAME)
    for gloss, row in zip(evaluation.glosses, evaluation.confusion_matrix.tolist(), strict=True):
        yield (gloss, *row)
