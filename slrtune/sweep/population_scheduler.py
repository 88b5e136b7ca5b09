"""Population based training as a Tune scheduler.

Why not Ray's own: `ray.tune.schedulers.PopulationBasedTraining` refuses every search algorithm, so
there would be no memory budget, no points and no study; it draws and perturbs without our spaces'
conditions, steps and bounds; and it moves trials by Tune checkpoints, of which it makes one at
every pause, while the engine here has its own, which survive a driver that was killed.
"""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from slrtune.sweep.outcomes import WAITS_FOR_OTHERS
from slrtune.sweep.population_search import PopulationSearch
from slrtune.sweep.storage_watch import StorageWatch


class PopulationScheduler(FIFOScheduler):
    """Pauses trials that have come to a meeting, and lets them run again after it.

    Args:
        search: knows the population.
        watch: takes note of what cannot be kept, and then ends the sweep.
    """

    def __init__(self, search: PopulationSearch, watch: StorageWatch) -> None:
        super().__init__()
        self._search, self._watch = search, watch

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Tune's hook. The trial has given its worker group back already."""
        if not result.get(WAITS_FOR_OTHERS):
            return str(TrialScheduler.CONTINUE)
        self._search.arrive(trial.config["number"], result)
        # Not by PAUSE, with which Tune writes a checkpoint of its own, and restores it.
        tune_controller.pause_trial(trial, should_checkpoint=False)
        return str(TrialScheduler.NOOP)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """Tune's hook."""
        self._search.population.end(trial.config["number"])

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Tune's hook."""
        self._search.population.end(trial.config["number"])

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Tune's hook."""
        self._search.population.end(trial.config["number"])

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Tune's hook, at every turn of its loop. New trials it starts by itself."""
        population = self._search.population
        if not self._watch.trouble:
            self._watch.note(self._search.meet)
        if self._watch.trouble or not population.ready or not population.has_place:
            return None
        number = population.ready[0]
        for trial in tune_controller.get_trials():
            if trial.status == Trial.PAUSED and trial.config["number"] == number:
                trial.set_config(self._search.config_of(number))
                population.run(number)
                return trial
        return None
