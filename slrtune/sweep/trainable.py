"""A Tune trial that trains on a warm worker group."""

from __future__ import annotations

import contextlib
import uuid
from pathlib import Path
from typing import Any

from ray import tune

from slrtune.cluster.task import NOBODY_LEFT, Event, Task
from slrtune.cluster.trial_client import TrialClient
from slrtune.config.errors import ConfigError
from slrtune.config.search_space import SearchSpace
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.outcomes import MEMORY, WAITS_FOR_OTHERS


class WarmTrial(tune.Trainable):
    """One step = one epoch of the trial, trained elsewhere.

    The actor is light (no torch) and reused: Tune gives it the next trial through
    `reset_config`. That, or `cleanup`, is how it learns that the scheduler stopped a trial.
    A trial of a population gives its worker group back at a meeting, and is given out again.
    """

    def setup(
        self,
        config: dict[str, Any],
        exchange: Any = None,
        space: SearchSpace | None = None,
        folder: Path | None = None,
    ) -> None:
        """Submit the first trial."""
        assert space is not None and folder is not None
        self._exchange, self._space, self._folder = exchange, space, folder
        self._client: TrialClient | None = None
        self._submit(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Stop the last trial where it still runs, and submit the next."""
        self.cleanup()
        self._submit(new_config)
        return True

    def cleanup(self) -> None:
        """Stop the trial at its next report."""
        if self._client is not None:
            self._client.stop()

    def step(self) -> dict[str, Any]:
        """The next epoch's metrics; ``done`` with the last, or with the error that ended it."""
        if self._client is None:
            return {**self._figures, "outcome": "error", "done": True}
        event = self._next_report()
        if event.kind == "epoch":
            self._figures |= event.payload
            if event.payload["epoch"] == self._until_epoch:
                self.cleanup()  # its checkpoint is written: it goes on from there
                self._client = None
                return {**self._figures, WAITS_FOR_OTHERS: True}
            if event.payload["epoch"] < self._figures["max_epochs"]:
                return dict(self._figures)
            event = self._next_report()
        self._figures |= event.payload
        # A failure brings its own outcome.
        return {"outcome": "completed", **self._figures, "done": True}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the trial's own checkpoints lie in its folder."""

    def _submit(self, config: dict[str, Any]) -> None:
        number = config["number"]
        self._figures: dict[str, Any] = {"number": number, "max_epochs": 0}
        self._client = None
        self._until_epoch = config.get("until_epoch")
        try:
            experiment = self._space.experiment(config["params"])
        except ConfigError as error:
            self._figures["error"] = str(error)
            return
        self._figures["max_epochs"] = experiment.training.max_epochs
        task = Task(
            # A name of its own for each time that it is given out. A trial that goes on after a
            # meeting must not be taken for its last turn; and where Tune replaces an actor that
            # has just started by one that became free, the first must not stop the second's task.
            task_id=f"{self.trial_id}-{uuid.uuid4().hex}",
            experiment=experiment.model_dump(mode="json"),
            folder=str(trial_folder(self._folder, number)),
            max_failures=experiment.sweep.max_failures_per_trial,
        )
        self._client = TrialClient(self._exchange, task)

    def _next_report(self) -> Event:
        """The next event but ``started``; an error is told in one line, its traceback in a file."""
        assert self._client is not None
        event = self._client.next_event()
        while event.kind == "started":
            if event.payload["num_restarts"]:
                self._figures |= event.payload
            event = self._client.next_event()
        if event.kind != "failed":
            return event
        error = event.payload
        if error["is_storage_away"]:
            told = {"outcome": "interrupted", "is_storage_away": True, "error": error["message"]}
            return Event("failed", told)
        folder = trial_folder(self._folder, self._figures["number"])
        # Storage that is away is no reason to lose the outcome, which the study waits for.
        with contextlib.suppress(OSError):
            folder.mkdir(exist_ok=True)
            (folder / "error.txt").write_text(f"{error['message']}\n\n{error['traceback']}")
        first_line = error["message"].splitlines()[0]
        figures = {"error": f"{error['error_type']}: {first_line}", "outcome": "error"}
        figures |= error.get("whereabouts", {})  # one that never reached a worker has none
        if error["error_type"] == NOBODY_LEFT:
            figures["outcome"] = "interrupted"
        if error["is_out_of_memory"]:
            figures["outcome"] = "oom"
            if error["peak_gib"] is not None:
                figures[MEMORY] = max(error["peak_gib"], self._figures.get(MEMORY, 0.0))
        return Event("failed", figures)
