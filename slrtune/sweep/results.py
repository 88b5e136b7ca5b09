"""What a sweep found: read from its study, the one record of every trial."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.validate import experiment_from_dict, set_dotted
from slrtune.sweep.board import TrialRow, best_of
from slrtune.sweep.searcher import STUDY_FILE, open_storage
from slrtune.sweep.trainable import TRIAL_FOLDER


@dataclass(frozen=True)
class SweepResults:
    """A sweep's trials and where things are.

    Attributes:
        folder: the sweep's folder.
        base: configuration of everything that was not searched.
        rows: every trial, best first; trials without a figure last, by number.
    """

    folder: Path
    base: Experiment
    rows: list[TrialRow] = field(default_factory=list)

    @property
    def best(self) -> TrialRow | None:
        """The trial with the best validation top-1; None if none reported."""
        return best_of(self.rows)

    def trial_folder(self, row: TrialRow) -> Path:
        """The trial's own folder."""
        return self.folder / TRIAL_FOLDER.format(number=row.number)

    def experiment(self, row: TrialRow) -> Experiment:
        """The trial's whole configuration."""
        raw = self.base.model_dump(mode="json")
        for key, value in row.params.items():
            set_dotted(raw, key, value)
        return experiment_from_dict(raw, f"trial {row.number}")


def read_results(folder: Path) -> SweepResults:
    """Read a sweep's folder.

    Raises:
        UserError: it is no sweep's folder.
    """
    plan_file = folder / "sweep.json"
    if not plan_file.exists() or not (folder / STUDY_FILE).exists():
        raise UserError(
            f"{folder}: is not the folder of a sweep (no sweep.json and {STUDY_FILE} in it); "
            "name one that `slrtune sweep` wrote, such as runs/<sweep>"
        )
    plan = json.loads(plan_file.read_text(encoding="utf-8"))
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=folder.name, storage=open_storage(folder))
    trials = study.get_trials(deepcopy=False)
    rows = [_row(trial) for trial in trials if trial.state != TrialState.WAITING]
    rows.sort(key=_rank)
    return SweepResults(folder, experiment_from_dict(plan["experiment"], str(plan_file)), rows)


def write_best(results: SweepResults) -> tuple[Path, Path] | None:
    """Write ``best.yaml`` and ``best.pt`` beside the study.

    Returns:
        Their paths; None if no trial reported anything.
    """
    best = results.best
    if best is None:
        return None
    experiment = results.experiment(best)
    config = experiment.model_dump(mode="json", exclude_defaults=True)
    config["name"] = f"{results.folder.name}-best"
    config["model"] = {
        "name": experiment.model.name,
        experiment.model.name: experiment.model.section.model_dump(mode="json"),
    }
    config.pop("sweep", None)
    best_yaml = results.folder / "best.yaml"
    accuracy = best.metrics["best_val_top1"]
    header = (
        f"# Best of {len(results.rows)} trials of {results.folder.name}: trial {best.number}, "
        f"validation top-1 {accuracy:.1%}.\n# slrtune train {best_yaml.name}\n"
    )
    best_yaml.write_text(header + yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
    best_checkpoint = results.folder / "best.pt"
    source = results.trial_folder(best) / "checkpoints" / "best.pt"
    # Written beside and renamed: a reader never sees half a file.
    partial = best_checkpoint.with_suffix(".partial")
    shutil.copyfile(source, partial)
    partial.replace(best_checkpoint)
    return best_yaml, best_checkpoint


def _row(trial: optuna.trial.FrozenTrial) -> TrialRow:
    attributes: dict[str, Any] = dict(trial.user_attrs)
    outcome = attributes.pop("outcome", "interrupted")
    return TrialRow(trial.number, dict(trial.params), outcome, attributes)


def _rank(row: TrialRow) -> tuple[float, float, int]:
    metrics = row.metrics
    return (
        -metrics.get("best_val_top1", float("-inf")),
        metrics.get("val_loss", float("inf")),
        row.number,
    )
