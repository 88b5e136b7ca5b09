"""The study: the sweep's one record of every trial, in a file that `optuna-dashboard` opens."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import optuna
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.errors import UserError
from slrtune.config.objective import Objective
from slrtune.config.patience import StorageError, patiently
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.folder import STUDY_FILE
from slrtune.sweep.outcomes import MEMORY
from slrtune.sweep.trials import was_given_out

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


class _PatientBackend(JournalFileBackend):
    """A journal that waits where its folder is away or full; never leaves half a line behind."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path, self.patience_s = path, 0.0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        def append() -> None:
            size = self._path.stat().st_size
            try:
                super(_PatientBackend, self).append_logs(logs)
            except OSError:
                # the rest of a line that a full disk cut off would damage the next one
                with contextlib.suppress(OSError):
                    os.truncate(self._path, size)
                raise

        self._patiently(append)

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:  # type: ignore[override]
        read = super().read_logs
        return iter(self._patiently(lambda: list(read(log_number_from))))

    def _patiently(self, access: Callable[[], _T]) -> _T:
        try:
            return patiently(access, self._path, self.patience_s)
        except StorageError:
            self.patience_s = 0.0  # once is enough
            raise


def open_storage(folder: Path) -> JournalStorage:
    """The sweep's durable storage: an append-only journal, safe on NFS."""
    return JournalStorage(_PatientBackend(folder / STUDY_FILE))


def be_patient(study: optuna.Study, patience_s: float) -> None:
    """From now on, wait so long where the study's folder is away or full."""
    study._storage._backend.patience_s = patience_s  # type: ignore[attr-defined]


def objectives(sweep: SweepConfig, objective: Objective) -> dict[str, str]:
    """Metric -> Tune's word for its direction, in the order of the study's values."""
    first = {objective.best_metric: objective.mode}
    return {**first, MEMORY: "min"} if sweep.objective == "pareto" else dict(first)


def take_up_study(
    folder: Path,
    sweep: SweepConfig,
    objective: Objective,
    sampler: BaseSampler,
    warm_trials: Iterable[FrozenTrial] = (),
) -> optuna.Study:
    """The study that an earlier start of the sweep left, or a new one.

    Trials that the earlier start left unfinished are WAITING: they are the first that are asked
    for, under their own number and with their parameters.

    Args:
        folder: the sweep's; nobody else may write to it now.
        sweep: settings of the search.
        objective: what trials are judged by.
        sampler: proposes what is asked for next.
        warm_trials: of another sweep; a new study starts with them.

    Raises:
        UserError: there is a study, but it is damaged.
    """
    path = folder / STUDY_FILE
    mend_journal(path)
    if path.exists() and path.stat().st_size:
        found = read_study(folder)
        if any(was_given_out(trial) for trial in found.get_trials(deepcopy=False)):
            pruner = optuna.pruners.NopPruner()
            study = optuna.load_study(
                study_name=found.study_name, storage=found._storage, sampler=sampler, pruner=pruner
            )
            reopen(study)
            return study
    # One that was cut off while it was made holds nothing that would be lost.
    path.unlink(missing_ok=True)
    study = _create_study(folder, sweep, objective, sampler)
    study.add_trials(warm_trials)
    return study


def reopen(study: optuna.Study) -> int:
    """Trials that are RUNNING, but that nobody runs any more, wait for the next start.

    Returns:
        How many there were.
    """
    cut_off = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in cut_off:
        study._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
    return len(cut_off)


def mend_journal(path: Path) -> None:
    """Cut off a last line that was written in part when the power or the driver failed.

    What is cut off stays beside it, as ``study.log.torn``. Optuna would take the next line that it
    writes for a part of the torn one. Nobody else may write to the journal now.
    """
    if not path.exists():
        return
    # Of a driver that died while it wrote: Optuna would wait half a minute for it.
    path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    num_whole, is_torn = 0, False
    with path.open("rb") as journal:
        for line in journal:
            if is_torn and _is_record(line):
                return  # damaged in its middle: no cut would mend that
            is_torn = is_torn or not (line.endswith(b"\n") and _is_record(line))
            num_whole += 0 if is_torn else len(line)
    if is_torn:
        _logger.warning("%s: its last line is torn and is cut off", path)
        shutil.copyfile(path, path.with_name(f"{path.name}.torn"))
        with path.open("r+b") as journal:
            journal.truncate(num_whole)


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _create_study(
    folder: Path, sweep: SweepConfig, objective: Objective, sampler: BaseSampler
) -> optuna.Study:
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
    except (StorageError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read ({type(error).__name__}: {error})"
    raise UserError(
        f"{folder / STUDY_FILE}: must hold one study, but {problem}; it is damaged, or its sweep "
        "ended before it began: restore it, or remove the folder and sweep again"
    )
