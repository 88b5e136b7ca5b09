"""Tune's events, passed on to the board, TensorBoard and whoever watches."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import FrameType
from typing import Any, Protocol

from ray import tune

from slrtune.sweep.board import SweepBoard, TrialRow
from slrtune.sweep.outcomes import WAITS_FOR_OTHERS, outcome_of

_logger = logging.getLogger(__name__)


class SweepWatcher(Protocol):
    """What a live table, a log or a TensorBoard writer implements."""

    def on_start(self, row: TrialRow) -> None:
        """A trial was given out."""

    def on_epoch(self, row: TrialRow) -> None:
        """A trial reported an epoch."""

    def on_end(self, row: TrialRow) -> None:
        """A trial ended; ``row.state`` says how."""

    def on_infeasible(self, row: TrialRow) -> None:
        """A configuration is predicted over the memory budget and not launched."""

    def on_tick(self, board: SweepBoard) -> None:
        """Something may have changed; several times a second."""

    def on_interrupt(self) -> None:
        """The user pressed Ctrl-C for the first time."""


class OpenWatcher(SweepWatcher, AbstractContextManager[Any], Protocol):
    """A watcher that is opened before a sweep and closed after it."""


class SweepCallback(tune.Callback):
    """Keeps the board true. An error in a watcher is logged: it must never end a sweep."""

    def __init__(self, board: SweepBoard, watchers: Sequence[SweepWatcher]) -> None:
        self._board, self._watchers = board, list(watchers)
        self._begun: set[int] = set()

    def watch(self, watcher: SweepWatcher) -> None:
        """Tell one more."""
        self._watchers.append(watcher)

    def __reduce__(self) -> tuple[Any, ...]:
        # Tune pickles its callbacks with the tuner; screens and open files stay here.
        return SweepCallback, (SweepBoard(self._board.name, 0, 0, self._board.objective), ())

    def setup(self, **info: Any) -> None:
        """Tune's hook, called once its Ctrl-C handler is in place: announce, then let it act."""
        if threading.current_thread() is not threading.main_thread():
            return
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):

            def announce(number: int, frame: FrameType | None) -> None:
                self._tell(lambda watcher: watcher.on_interrupt())
                handler(number, frame)

            signal.signal(signal.SIGINT, announce)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        row = self._row(trial)
        row.state, row.started_s = "running", time.monotonic()
        self._board.activity = ""
        if row.number not in self._begun:  # of a population it begins again after each meeting
            self._begun.add(row.number)
            self._tell(lambda watcher: watcher.on_start(row))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Tune's hook."""
        row = self._row(trial)
        best_before = row.best_value
        row.metrics = dict(result)
        if row.best_value != best_before:
            row.params = trial.config["params"]  # of a population they change
        if result.get(WAITS_FOR_OTHERS):
            row.state = "waiting"
        if self._board.objective.metric in result:
            self._tell(lambda watcher: watcher.on_epoch(row))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        row = self._row(trial)
        row.state = outcome_of(trial.last_result or {}, self._board.objective, is_error=False)
        self._tell(lambda watcher: watcher.on_end(row))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tune's hook."""
        row = self._row(trial)
        row.state = "error"
        self._tell(lambda watcher: watcher.on_end(row))

    def on_predict(self, number: int) -> None:
        """The searcher's hook."""
        self._board.activity = f"predicting the memory of configuration {number}"

    def on_infeasible(self, row: TrialRow) -> None:
        """The searcher's hook."""
        self._board.count_infeasible(row)
        self._tell(lambda watcher: watcher.on_infeasible(row))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune's hook, after every turn of its loop."""
        self._tell(lambda watcher: watcher.on_tick(self._board))

    def _row(self, trial: Any) -> TrialRow:
        return self._board.row(trial.config["number"], trial.config["params"])

    def _tell(self, call: Callable[[SweepWatcher], None]) -> None:
        for watcher in self._watchers:
            try:
                call(watcher)
            except Exception:
                _logger.exception("a watcher of the sweep failed")
