"""What a sweep found: read from its study, the one record of every trial."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from slrtune.config.addresses import address_of, shown
from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.json_file import read_json
from slrtune.config.validate import experiment_from_dict, with_params
from slrtune.sweep.board import TrialRow, best_of, rank
from slrtune.sweep.folder import PLAN_FILE, STUDY_FILE, trial_folder
from slrtune.sweep.outcomes import WARM_START_FROM
from slrtune.sweep.schedule import Leg, lineage
from slrtune.sweep.study import read_study
from slrtune.sweep.trials import row_of, was_given_out

# Of a population, beside best.yaml: the settings that led to the best, epoch by epoch.
BEST_SCHEDULE_FILE = "best_schedule.yaml"
_MAX_STEM = 90  # leaves room in a run's name


@dataclass(frozen=True)
class SweepResults:
    """A sweep's trials and where things are.

    Attributes:
        folder: the sweep's folder.
        base: configuration of everything that was not searched.
        rows: every trial, also configurations that were not launched; best first, those without a
            figure last, by number.
        budget_gib: memory budget of a worker; None = none.
        num_warm: trials of earlier sweeps that only the sampler was told of; not among the rows.
    """

    folder: Path
    base: Experiment
    rows: list[TrialRow] = field(default_factory=list)
    budget_gib: float | None = None
    num_warm: int = 0

    @property
    def best(self) -> TrialRow | None:
        """The trial with the best value within the budget; None if there is none."""
        return best_of(self.rows, self.budget_gib)

    @property
    def launched(self) -> list[TrialRow]:
        """The rows that were trained, at least in part."""
        return [row for row in self.rows if row.state != "infeasible"]

    @property
    def ended(self) -> list[TrialRow]:
        """Launched trials of which nothing more will come."""
        return [row for row in self.launched if row.state != "interrupted"]

    def trial_folder(self, row: TrialRow) -> Path:
        """The trial's own folder."""
        return trial_folder(self.folder, row.number)

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
            f"{shown(folder)}: is not the folder of a sweep (no {PLAN_FILE} and {STUDY_FILE} in "
            "it); name one that `slrtune sweep` wrote, such as runs/<sweep>"
        )
    plan = read_json(plan_file, "experiment")
    base = experiment_from_dict(plan["experiment"], str(plan_file))
    trials = read_study(folder).get_trials(deepcopy=False)
    own = [trial for trial in trials if WARM_START_FROM not in trial.user_attrs]
    rows = [row_of(trial, base.objective) for trial in own if was_given_out(trial)]
    rows.sort(key=rank)
    return SweepResults(folder, base, rows, plan.get("budget_gib"), len(trials) - len(own))


def write_best(results: SweepResults) -> tuple[Path, Path | None] | None:
    """Write ``best.yaml`` and ``best.pt`` beside the study.

    Returns:
        Their paths, None for a checkpoint that is no longer there; None for both if no trial
        reported anything.
    """
    best = results.best
    if best is None:
        return None
    best_file = results.folder / "best.yaml"
    best_file.write_text(best_yaml(results, best_file.name) or "", encoding="utf-8")
    write_best_schedule(results, results.folder)
    source = results.trial_folder(best) / "checkpoints" / "best.pt"
    if address_of(results.folder) is not None or not source.exists():
        return best_file, None  # at an address, the driver makes the copy (`InStep.keep_best`)
    best_checkpoint = results.folder / "best.pt"
    # Written beside and renamed: a reader never sees half a file.
    partial = best_checkpoint.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)  # takes no room of its own
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(best_checkpoint)
    return best_file, best_checkpoint


def best_yaml(results: SweepResults, file_name: str) -> str | None:
    """The best trial as an experiment to train again; None where no trial has a result."""
    best = results.best
    if best is None:
        return None
    header = (
        f"# Best of {len(results.launched)} trials of {results.folder.name}: trial {best.number}, "
        f"{best.objective.label} {best.objective.text(best.best_value)}.\n"
        f"# slrtune train {file_name}\n"
    )
    legs = best_lineage(results)
    if len(legs) > 1:
        header += (
            f"# No settings alone have led there, but a schedule of {len(legs)}: see "
            f"{BEST_SCHEDULE_FILE}. These are\n# the last of them, of epochs "
            f"{legs[-1].first_epoch} to {legs[-1].last_epoch}; trained from the start, they give "
            "another result.\n"
        )
    config = _to_train_again(results.experiment(best), results.folder.name)
    return header + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)


def best_lineage(results: SweepResults) -> list[Leg]:
    """With what the weights of the best epoch were trained, from the start on; one leg where the
    settings stayed the same, none where trials have no schedule."""
    best = results.best
    if best is None or not best.schedule:
        return []
    schedules = {row.number: row.schedule for row in results.rows if row.schedule}
    return lineage(schedules, best.number, best.best_epoch)


def write_best_schedule(results: SweepResults, folder: Path) -> Path | None:
    """Write what `best_lineage` says into a folder, where there is more to it than best.yaml."""
    file, best, legs = folder / BEST_SCHEDULE_FILE, results.best, best_lineage(results)
    if best is None or len(legs) < 2:
        file.unlink(missing_ok=True)  # of an earlier best
        return None
    header = (
        f"# What led to trial {best.number} of {results.folder.name}, "
        f"{best.objective.label} {best.objective.text(best.best_value)} after epoch "
        f"{best.best_epoch}.\n"
        "# Whose weights they were, in which epochs, and what these were trained with; all else is "
        "as in best.yaml.\n"
    )
    text = yaml.safe_dump([asdict(leg) for leg in legs], sort_keys=False)
    file.write_text(header + text, encoding="utf-8")
    return file


def _to_train_again(experiment: Experiment, sweep: str) -> dict[str, Any]:
    config = experiment.model_dump(mode="json", exclude_defaults=True)
    config["name"] = f"{sweep[:_MAX_STEM]}-best"
    config["model"] = {
        "name": experiment.model.name,
        experiment.model.name: experiment.model.section.model_dump(mode="json"),
    }
    config.pop("sweep", None)
    if experiment.resources.gpu_packing == "auto":
        config["resources"].pop("gpus_per_worker", None)  # a share worked out for the sweep
    return config
