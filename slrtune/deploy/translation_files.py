"""An evaluated translator on disk: figures for machines, and every clip's texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from slrtune.config.json_file import write_json
from slrtune.deploy.evaluate_translation import TranslationEvaluation
from slrtune.deploy.result_files import coverage_record, provenance, whole_file, write_rows

METRICS_FILE, TRANSLATIONS_FILE = "metrics.json", "translations.csv"


def write_translation_evaluation(evaluation: TranslationEvaluation, folder: Path) -> None:
    """Write both files into ``folder``, each whole or not at all; ``metrics.json`` comes last.

    Raises:
        OSError: the folder cannot be written to.
    """
    whole_file(
        folder / TRANSLATIONS_FILE, lambda path: write_rows(path, _translation_rows(evaluation))
    )
    write_json(folder / METRICS_FILE, translation_record(evaluation))


def translation_record(evaluation: TranslationEvaluation) -> dict[str, Any]:
    """All figures and where they come from, as JSON knows it."""
    return {
        "split": evaluation.split,
        "num_clips": len(evaluation.records),
        "methods": {
            method: {**metrics, "write_s": evaluation.write_s[method]}
            for method, metrics in evaluation.metrics.items()
        },
        "signature": evaluation.signature,
        "encode_s": evaluation.encode_s,
        "per_signer": {
            method: [row._asdict() for row in evaluation.per_signer(method)]
            for method in evaluation.written
        },
        "coverage": coverage_record(evaluation.coverage),
        **provenance(evaluation, len(evaluation.records)),
    }


def _translation_rows(evaluation: TranslationEvaluation) -> Iterable[Sequence[object]]:
    methods = list(evaluation.written)
    columns = [name for method in methods for name in (method, f"{method}_confidence")]
    yield ("path", "signer", "sentence", *columns)
    for place, record in enumerate(evaluation.records):
        said = [evaluation.written[method][place] for method in methods]
        cells = [cell for each in said for cell in (each.text, f"{each.confidence:.6f}")]
        yield (record.path, record.signer or "", evaluation.references[place], *cells)
