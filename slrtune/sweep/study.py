"""The study: the sweep's one record of every trial, in a file that `optuna-dashboard` opens."""

from __future__ import annotations

import warnings
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from slrtune.config.errors import UserError
from slrtune.config.objective import Objective
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.outcomes import MEMORY

STUDY_FILE = "study.log"


def open_storage(folder: Path) -> JournalStorage:
    """The sweep's durable storage: an append-only journal, safe on NFS."""
    return JournalStorage(JournalFileBackend(str(folder / STUDY_FILE)))


def objectives(sweep: SweepConfig, objective: Objective) -> dict[str, str]:
    """Metric -> Tune's word for its direction, in the order of the study's values."""
    first = {objective.best_metric: objective.mode}
    return {**first, MEMORY: "min"} if sweep.objective == "pareto" else dict(first)


def create_study(
    folder: Path, sweep: SweepConfig, objective: Objective, sampler: BaseSampler
) -> optuna.Study:
    """A new study in the sweep's folder."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    wanted = objectives(sweep, objective)
    study = optuna.create_study(
        storage=open_storage(folder),
        sampler=sampler,
        pruner=optuna.pruners.NopPruner(),  # ASHA is Tune's
        study_name=folder.name,
        directions=["maximize" if mode == "max" else "minimize" for mode in wanted.values()],
    )
    with warnings.catch_warnings():
        # experimental by name only
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(list(wanted))
    return study


def read_study(folder: Path) -> optuna.Study:
    """The study of a sweep, also of one that still runs.

    Raises:
        UserError: the file does not hold one study.
    """
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
