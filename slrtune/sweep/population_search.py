"""The search of a population: gives trials out in turns, and holds their meetings.

Nobody runs on before a meeting is held: first each exploit is written into the study, then the
winner's checkpoint is laid into the loser's folder, and last the study is told that the meeting was
held. A sweep that was killed in between takes all of it back and holds the same meeting again, with
the same seed and the same values, which every trial first reports again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState
from ray.tune.search import Searcher

from slrtune.config.patience import patiently
from slrtune.config.population import can_change
from slrtune.config.search_space import Params, SearchSpace
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.distributions import distributions_of
from slrtune.sweep.exploration import explored
from slrtune.sweep.folder import trial_folder
from slrtune.sweep.outcomes import Outcome
from slrtune.sweep.population import Exploit, Population, Score, exploits, score_of
from slrtune.sweep.schedule import (
    SCHEDULE,
    Turn,
    first_best_epoch,
    schedule_from,
    schedule_to,
    turn_of,
)  # fmt: skip
from slrtune.sweep.searcher import SearchListener, TruthfulSearch, note_prediction
from slrtune.sweep.trials import earlier_trials, values_by_epoch
from slrtune.training.inheritance import hand_over, withdraw

# Study attribute: meetings that were held.
_NUM_HELD = "num_meetings"


class PopulationSearch(TruthfulSearch):
    """A `TruthfulSearch` whose trials train together.

    Args:
        space: the search space.
        folder: the sweep's folder.
        budget: which configurations fit, of those that are drawn and those that are perturbed.
        listener: see `TruthfulSearch`.
        num_places: trials that may run at a time.
        say: tells the user who takes over from whom.

    Attributes:
        population: who runs, who waits.
    """

    def __init__(
        self,
        space: SearchSpace,
        folder: Path,
        budget: MemoryBudget | None = None,
        listener: SearchListener | None = None,
        num_places: int = 1,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        sweep = space.base.sweep
        super().__init__(space, sweep, folder, budget, listener)
        self._folder, self._say = folder, say
        self._distributions = distributions_of(space)
        num_ended = sum(t.has_ended for t in self.earlier if t.row.state != "infeasible")
        self.population = Population(
            sweep.max_trials - num_ended,
            num_places,
            sweep.pbt.meetings(space.max_epochs),
            self.study.user_attrs.get(_NUM_HELD, 0),
        )
        self._forget_unheld_meeting()
        self.earlier = earlier_trials(self.study.get_trials(deepcopy=False), self._objective)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next member of the population; None while all places are taken."""
        if not self.population.has_place:
            return None
        config = super().suggest(trial_id)
        if config == Searcher.FINISHED:
            self.population.is_whole = True  # smaller than it was meant to be
        if not isinstance(config, dict):
            return config
        trial = self._open[trial_id]
        if SCHEDULE not in trial.user_attrs:
            trial.set_user_attr(SCHEDULE, schedule_to((Turn(0, config["params"]),)))
        self.population.join(trial.number)
        return self.config_of(trial.number)

    def config_of(self, number: int) -> dict[str, Any]:
        """Tune's configuration of a member: number, parameters of now, and where it waits next."""
        schedule = schedule_from(self._trial(number).user_attrs[SCHEDULE])
        until_epoch = self.population.until_epoch
        return {"number": number, "params": schedule[-1].params, "until_epoch": until_epoch}

    def arrive(self, number: int, metrics: Mapping[str, Any]) -> None:
        """A member has come as far as the next meeting."""
        self.population.arrive(number, score_of(metrics, self._objective))

    def meet(self) -> None:
        """Hold the meeting, if all are there.

        Raises:
            StorageError: what was decided cannot be kept; it is decided again at the next start.
        """
        if not self.population.has_met:
            return
        if self.lost:
            # Those that are there know only a part of the others: let each find out by itself
            # that nobody is left to train it.
            self.population.go_on(was_held=False)
            return
        scores, num_held = self.population.scores, self.population.num_held
        seed = f"{self._sweep.seed} {num_held}"
        for exploit in exploits(scores, self._sweep.pbt.quantile, seed):
            self._take_over(exploit, scores, seed)
        self.study.set_user_attr(_NUM_HELD, num_held + 1)
        self.population.go_on()

    def _take_over(self, exploit: Exploit, scores: Mapping[int, Score], seed: str) -> None:
        epoch = self.population.until_epoch
        assert epoch is not None
        loser, winner = self._trial(exploit.loser), exploit.winner
        params = explored(
            self._space,
            self.config_of(winner)["params"],
            self._sweep.pbt,
            random.Random(f"{seed} {exploit.loser} explore"),
            partial(self._is_within_budget, loser),
        )
        schedule = schedule_from(loser.user_attrs[SCHEDULE])
        loser.set_user_attr(SCHEDULE, schedule_to((*schedule, Turn(epoch, params, winner))))
        self._show(loser, params)
        give, take = self._checkpoints(winner), self._checkpoints(loser.number)
        patience_s = self._space.base.resources.storage_patience_s
        patiently(partial(hand_over, give, take), take, patience_s)
        self._say(
            f"After epoch {epoch}: trial {loser.number} ({self._text(scores[loser.number])}) goes "
            f"on from trial {winner} ({self._text(scores[winner])}) with {_changed_text(params)}"
        )

    def _forget_unheld_meeting(self) -> None:
        """A driver that was killed in a meeting may have told and handed over a part of it."""
        until_epoch = self.population.until_epoch
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
            schedule = schedule_from(trial.user_attrs.get(SCHEDULE, ()))
            held = [t for t in schedule if until_epoch is None or t.after_epoch < until_epoch]
            if len(held) < len(schedule):
                withdraw(self._checkpoints(trial.number))
                told = schedule_to(tuple(held))
                self.study._storage.set_trial_user_attr(trial._trial_id, SCHEDULE, told)

    def _checkpoints(self, number: int) -> Path:
        return trial_folder(self._folder, number) / "checkpoints"

    def _text(self, score: Score) -> str:
        return self._objective.text(self._objective.score(score[0]))  # its own inverse

    def _is_within_budget(self, trial: optuna.Trial, params: Params) -> bool:
        prediction = self._budget.predict(self._space, params)
        fits = self._budget.fits(prediction)
        if fits:
            note_prediction(trial, prediction)
        return fits

    def _trial(self, number: int) -> optuna.Trial:
        return next(trial for trial in self._open.values() if trial.number == number)

    def _show(self, trial: optuna.Trial, params: Params) -> None:
        """Give a trial's parameters in the study, which other tools read, new values."""
        for key, value in params.items():
            distribution = self._distributions[key]
            told = distribution.to_internal_repr(value)
            self.study._storage.set_trial_param(trial._trial_id, key, told, distribution)

    def _tell(self, trial: optuna.Trial, outcome: Outcome, result: dict[str, Any]) -> None:
        """As any trial, with the parameters of its best epoch."""
        schedule = schedule_from(trial.user_attrs.get(SCHEDULE, ()))
        if schedule:
            frozen = self.study._storage.get_trial(trial._trial_id)
            self._show(trial, turn_of(schedule, first_best_epoch(values_by_epoch(frozen))).params)
        super()._tell(trial, outcome, result)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_say": None}


def _changed_text(params: Params) -> str:
    changed = {key.rpartition(".")[2]: v for key, v in params.items() if can_change(key)}
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in changed.items()
    )
