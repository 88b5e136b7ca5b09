"""A sweep whose folder is away or full for too long: it stops, and nothing is lost.

What could not be kept of a trial is no result of it: it stays open in the study, and goes on from
its last checkpoint when the sweep is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from slrtune.config.patience import StorageError
from slrtune.sweep.searcher import TruthfulSearch


class StorageWatch(Searcher):
    """Stands before the search, and ends it at the first thing that could not be kept.

    Attributes:
        search: the search.
        trouble: what could not be kept, and why; empty = nothing.
    """

    def __init__(self, search: TruthfulSearch, keep: Callable[[], None] | None = None) -> None:
        """
        Args:
            search: see below.
            keep: called after everything that the study was told, before what follows from it.
        """
        super().__init__()
        self.search = search
        self.trouble = ""
        self._keep = keep

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Tune's hook."""
        suggested: dict[str, Any] | str | None = Searcher.FINISHED

        def suggest() -> None:
            nonlocal suggested
            suggested = self.search.suggest(trial_id)

        if not self.trouble:
            self.note(suggest)
        return Searcher.FINISHED if self.trouble else suggested

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tune's hook."""
        if not self.trouble:
            self.note(lambda: self.search.on_trial_result(trial_id, result))

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tune's hook; a trial whose worker could not save it stays open."""
        if result and result.get("is_storage_away"):
            self.trouble = self.trouble or str(result["error"])
        elif not self.trouble:
            self.note(lambda: self.search.on_trial_complete(trial_id, result, error))

    def note(self, tell: Callable[[], None]) -> None:
        """Do what writes to the sweep's folder."""
        try:
            tell()
            if self._keep is not None:
                self._keep()
        except StorageError as error:
            self.trouble = str(error)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its settings with the searcher in them; what it is kept by stays here.
        return {**self.__dict__, "_keep": None}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, as the search itself."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as the search itself."""


class StopInTrouble(tune.Stopper):
    """Tune's stopper: every trial stops at its next report when there is trouble."""

    def __init__(self, watch: StorageWatch) -> None:
        self._watch = watch

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this trial stops."""
        return bool(self._watch.trouble)

    def stop_all(self) -> bool:
        """Whether all stop."""
        return bool(self._watch.trouble)
