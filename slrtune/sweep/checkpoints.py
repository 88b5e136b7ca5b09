"""Which checkpoints a sweep keeps: what can still be needed, and nothing else.

- A trial that has not ended keeps all of its own: it goes on from them.
- A trial that has ended never goes on (ASHA here stops, and does not pause), so it keeps at most
  ``best.pt``: the best ``sweep.keep_checkpoints`` of the sweep, and with the objective pareto those
  on the front.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import optuna

from slrtune.config.experiment import Experiment
from slrtune.config.mirror import Mirror, mirror_of
from slrtune.sweep.board import SweepBoard, TrialRow, is_ranked, rank
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.front import pareto_front
from slrtune.sweep.trials import earlier_trials

_logger = logging.getLogger(__name__)


class CheckpointKeeper:
    """A watcher that removes what is no longer needed whenever a trial ends.

    What has ended the study says: what was not told to it is not over, whatever stopped it.

    Args:
        folder: the sweep's.
        study: its trials.
        base: with ``sweep.keep_checkpoints`` and the objective.
        budget_gib: memory budget of a worker; None = none.
    """

    def __init__(
        self, folder: Path, study: optuna.Study, base: Experiment, budget_gib: float | None
    ) -> None:
        self._folder, self._study, self._objective = folder, study, base.objective
        self._num_kept, self._budget_gib = base.sweep.keep_checkpoints, budget_gib
        self._is_pareto = base.sweep.objective == "pareto"
        self._mirror = mirror_of(folder)

    def on_start(self, row: TrialRow) -> None:
        """Nothing."""

    def on_epoch(self, row: TrialRow) -> None:
        """Nothing: a trial's own loop keeps its last two and its best."""

    def on_end(self, row: TrialRow) -> None:
        """Remove what the trial, and those that it has beaten, need no more."""
        self.tidy()

    def on_infeasible(self, row: TrialRow) -> None:
        """Nothing: it was not launched."""

    def on_tick(self, board: SweepBoard) -> None:
        """Nothing."""

    def on_interrupt(self) -> None:
        """Nothing: trials that are cut off keep what they have."""

    def tidy(self) -> None:
        """Remove all that is not needed any more; one that cannot be removed is left."""
        trials = earlier_trials(self._study.get_trials(deepcopy=False), self._objective)
        ended = [trial.row for trial in trials if trial.has_ended]
        kept = {row.number for row in self._worth_keeping(ended)}
        for row in ended:
            _remove(trial_folder(self._folder, row.number) / "checkpoints", row.number in kept)
        if self._mirror is not None:
            self._remove_at_address(self._mirror, {row.number: row.number in kept for row in ended})

    def _remove_at_address(self, mirror: Mirror, keeps_best: Mapping[int, bool]) -> None:
        number_of = {trial_folder(Path(), number).name: number for number in keeps_best}
        try:
            for name in mirror.files():
                trial, *below = name.split("/")
                number = number_of.get(trial)
                if number is None or below[:1] != ["checkpoints"]:
                    continue
                if not (keeps_best[number] and below[-1] == "best.pt"):
                    mirror.delete(name)
        except OSError as error:  # the next end of a trial comes by here
            _logger.warning("checkpoints at %s stay: %s", mirror.address, error)

    def _worth_keeping(self, ended: Sequence[TrialRow]) -> Iterable[TrialRow]:
        ranked = sorted(filter(is_ranked, ended), key=rank)
        if self._num_kept is None:
            return ranked
        # What is over the budget cannot become the sweep's best.
        fitting = [row for row in ranked if row.fits(self._budget_gib)]
        front = pareto_front(ended) if self._is_pareto else []
        return [*fitting[: self._num_kept], *front]


def _remove(checkpoints: Path, keeps_best: bool) -> None:
    for file in list(checkpoints.glob("*")):
        if keeps_best and file.name == "best.pt":
            continue
        try:
            file.unlink()
        except OSError as error:
            _logger.warning("%s stays: %s", file, error)
    with contextlib.suppress(OSError):
        checkpoints.rmdir()  # where it is empty
