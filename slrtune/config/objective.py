"""What makes an epoch, and with it a trial, the best: one validation metric and its direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Task = Literal["recognition", "translation"]
JudgedBy = Literal["auto", "top1", "top1_per_class", "bleu", "chrf", "wer"]


@dataclass(frozen=True)
class Objective:
    """A validation metric that is made as large, or as small, as it can be.

    Attributes:
        metric: its name in a report of an epoch; the best so far is ``best_<metric>``.
        label: what people call it.
        task: the models that have it.
        mode: Tune's word for the direction.
        companion: the metric of the same epoch that is shown beside it.
    """

    metric: str
    label: str
    task: Task
    mode: Literal["max", "min"] = "max"
    companion: str = "val_top5"

    @property
    def best_metric(self) -> str:
        """Name of the best value so far."""
        return f"best_{self.metric}"

    @property
    def best_companion(self) -> str:
        """Name of the companion's value at the best epoch."""
        return f"best_{self.companion}"

    def score(self, value: float) -> float:
        """``value`` so that more is better."""
        return value if self.mode == "max" else -value

    def text(self, value: float | None) -> str:
        """``79.5%`` or ``24.61``, as the field prints it; a dash where there is none."""
        return metric_text(self.metric, value)


def metric_text(metric: str, value: float | None) -> str:
    """A validation metric as the field prints it: BLEU, chrF and ROUGE in points, shares in %."""
    if value is None:
        return "–"
    is_in_points = any(name in metric for name in ("bleu", "chrf", "rouge"))
    return f"{value:.2f}" if is_in_points else f"{value:.1%}"


def metric_label(metric: str) -> str:
    """``best_val_top5`` -> ``top-5``."""
    name = metric.removeprefix("best_").removeprefix("val_")
    known = {
        "bleu": "BLEU", "chrf": "chrF", "wer": "WER", "rouge": "ROUGE-L", "loss": "loss",
        "top1_per_class": "top-1 per class",
    }  # fmt: skip
    return known.get(name, name.replace("top", "top-"))


_TRANSLATION: dict[str, Any] = {"task": "translation", "companion": "val_wer"}

OBJECTIVES: Mapping[str, Objective] = {
    "top1": Objective("val_top1", "validation top-1", "recognition"),
    "top1_per_class": Objective(
        "val_top1_per_class", "validation top-1 per class", "recognition", companion="val_top1"
    ),
    "bleu": Objective("val_bleu", "validation BLEU", **_TRANSLATION),
    "chrf": Objective("val_chrf", "validation chrF", **_TRANSLATION),
    "wer": Objective("val_wer", "validation WER", "translation", "min", companion="val_bleu"),
}
_OF_TASK = {"recognition": "top1", "translation": "bleu"}


def objective_of(judged_by: JudgedBy, task: Task) -> Objective:
    """The objective that ``training.judged_by`` names; ``auto`` = the usual one of the task."""
    return OBJECTIVES[_OF_TASK[task] if judged_by == "auto" else judged_by]
