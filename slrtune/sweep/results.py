"""What a sweep found: read from its study, the one record of every trial."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import yaml
from optuna.trial import TrialState

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.json_file import read_json
from slrtune.config.validate import experiment_from_dict, with_params
from slrtune.sweep.board import TrialRow, best_of, rank
from slrtune.sweep.searcher import LAST_REPORT, STUDY_FILE, open_storage
from slrtune.sweep.trainable import TRIAL_FOLDER

PLAN_FILE = "sweep.json"
_MAX_STEM = 90  # leaves room in a run's name


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
        return experiment_from_dict(with_params(self.base, row.params), f"trial {row.number}")


def read_results(folder: Path) -> SweepResults:
    """Read a sweep's folder, also one that was renamed, copied, or whose data are gone.

    Raises:
        UserError: it is no sweep's folder, or a damaged one.
    """
    plan_file = folder / PLAN_FILE
    if not plan_file.exists() or not (folder / STUDY_FILE).exists():
        raise UserError(
            f"{folder}: is not the folder of a sweep (no {PLAN_FILE} and {STUDY_FILE} in it); "
            "name one that `slrtune sweep` wrote, such as runs/<sweep>"
        )
    base = experiment_from_dict(read_json(plan_file, "experiment")["experiment"], str(plan_file))
    trials = _read_study(folder).get_trials(deepcopy=False)
    rows = [_row(trial) for trial in trials if trial.state != TrialState.WAITING]
    rows.sort(key=rank)
    return SweepResults(folder, base, rows)


def _read_study(folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        storage = open_storage(folder)
        # By what it is called in the file: the folder may have been renamed.
        names = optuna.get_all_study_names(storage)
        if len(names) == 1:
            return optuna.load_study(study_name=names[0], storage=storage)
        problem = f"holds {len(names)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read ({type(error).__name__}: {error})"
    raise UserError(
        f"{folder / STUDY_FILE}: must hold one study, but {problem}; it is damaged, or its sweep "
        "ended before it began: restore it, or remove the folder and sweep again"
    )


def write_best(results: SweepResults) -> tuple[Path, Path | None] | None:
    """Write ``best.yaml`` and ``best.pt`` beside the study.

    Returns:
        Their paths, None for a checkpoint that is no longer there; None for both if no trial
        reported anything.
    """
    best = results.best
    if best is None:
        return None
    best_yaml = results.folder / "best.yaml"
    header = (
        f"# Best of {len(results.rows)} trials of {results.folder.name}: trial {best.number}, "
        f"validation top-1 {best.metrics['best_val_top1']:.1%}.\n"
        f"# slrtune train {best_yaml.name}\n"
    )
    config = _to_train_again(results.experiment(best), results.folder.name)
    best_yaml.write_text(
        header + yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8"
    )
    source = results.trial_folder(best) / "checkpoints" / "best.pt"
    if not source.exists():
        return best_yaml, None
    best_checkpoint = results.folder / "best.pt"
    # Written beside and renamed: a reader never sees half a file.
    partial = best_checkpoint.with_suffix(".partial")
    shutil.copyfile(source, partial)
    partial.replace(best_checkpoint)
    return best_yaml, best_checkpoint


def _to_train_again(experiment: Experiment, sweep: str) -> dict[str, Any]:
    config = experiment.model_dump(mode="json", exclude_defaults=True)
    config["name"] = f"{sweep[:_MAX_STEM]}-best"
    config["model"] = {
        "name": experiment.model.name,
        experiment.model.name: experiment.model.section.model_dump(mode="json"),
    }
    config.pop("sweep", None)
    return config


def _row(trial: optuna.trial.FrozenTrial) -> TrialRow:
    attributes: dict[str, Any] = dict(trial.user_attrs)
    metrics = {**attributes.pop(LAST_REPORT, {}), **attributes}
    outcome = metrics.pop("outcome", "interrupted")
    return TrialRow(trial.number, dict(trial.params), outcome, metrics)
