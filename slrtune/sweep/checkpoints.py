"""Which checkpoints a sweep keeps: what can still be needed, and nothing else.

- A trial that has not ended keeps all of its own: it goes on from them.
- A trial that has ended never goes on (ASHA here stops, and does not pause), so it keeps at most
  ``best.pt``: the best ``sweep.keep_checkpoints`` of the sweep, and with the objective pareto those
  on the front.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from slrtune.sweep.board import SweepBoard, TrialRow, is_ranked, rank
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.front import pareto_front

_logger = logging.getLogger(__name__)


class CheckpointKeeper:
    """A watcher that removes what is no longer needed whenever a trial ends.

    Args:
        folder: the sweep's.
        board: its trials.
        num_kept: ``sweep.keep_checkpoints``; None = the best checkpoint of every trial.
        is_pareto: whether memory is an objective, too.
    """

    def __init__(
        self, folder: Path, board: SweepBoard, num_kept: int | None, is_pareto: bool
    ) -> None:
        self._folder, self._board = folder, board
        self._num_kept, self._is_pareto = num_kept, is_pareto

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
        ended = [
            row
            for row in self._board.rows.values()
            if row.state not in ("running", "waiting", "interrupted")
        ]
        kept = {row.number for row in self._worth_keeping(ended)}
        for row in ended:
            _remove(trial_folder(self._folder, row.number) / "checkpoints", row.number in kept)

    def _worth_keeping(self, ended: Sequence[TrialRow]) -> Iterable[TrialRow]:
        ranked = sorted(filter(is_ranked, ended), key=rank)
        if self._num_kept is None:
            return ranked
        # What is over the budget cannot become the sweep's best.
        fitting = [row for row in ranked if row.fits(self._board.budget_gib)]
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
