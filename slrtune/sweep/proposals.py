"""Configurations worth trying next, best first, by a model of accuracy."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.search_space import Params, SearchSpace
from slrtune.config.search_space_checks import RandomSuggester
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.accuracy_model import AccuracyModel, Observation

_NUM_RANDOM = 400
# Around each of the best so far, with one to three parameters drawn anew.
_NUM_BEST, _NUM_NEIGHBOURS, _MAX_CHANGES = 5, 60, 3
# The best trials that the model always sees, however many there are.
_NUM_KEPT = 50


class GaussianProcessProposals:
    """Ranks random configurations, and neighbours of the best, by their expected improvement.

    Args:
        space: the search space.
        sweep: number of trials at random before, rungs, and seed. The same trials in the same
            order give the same proposals.
    """

    def __init__(self, space: SearchSpace, sweep: SweepConfig) -> None:
        self._space, self._sweep = space, sweep
        self._score = space.base.objective.score
        self._rungs = set(sweep.rungs(space.max_epochs))
        self._fitted: tuple[object, AccuracyModel] | None = None

    def ranked(self, trials: Sequence[FrozenTrial], number: int) -> Iterator[Params]:
        """Configurations for trial ``number``, after what the other trials have shown."""
        rng = random.Random(f"{self._sweep.seed} {number}")
        others = [trial for trial in trials if trial.number != number]
        observed = [trial for trial in others if trial.intermediate_values]
        if len(observed) < self._sweep.num_startup_trials:
            while True:
                yield self._draw(rng, {})
        model = self._model(observed, others)
        expected = model.expected([trial.params for trial in observed])
        best = [observed[i].params for i in np.argsort(-expected)[:_NUM_BEST]]
        pool = [self._draw(rng, {}) for _ in range(_NUM_RANDOM)]
        pool += [self._neighbour(rng, params) for params in best for _ in range(_NUM_NEIGHBOURS)]
        tried = [trial.params for trial in others]
        pool = [params for params in pool if params not in tried] or pool
        improvement = model.expected_improvement(pool, float(expected.max()))
        yield from (pool[i] for i in np.argsort(-improvement))

    def _model(self, observed: list[FrozenTrial], others: list[FrozenTrial]) -> AccuracyModel:
        pending = [t for t in others if t.state == TrialState.RUNNING and not t.intermediate_values]
        shown = [(trial.number, max(trial.intermediate_values)) for trial in observed]
        key = (shown, [trial.number for trial in pending])
        # A draw that is predicted over the memory budget changes nothing here.
        if self._fitted is None or self._fitted[0] != key:
            params = [trial.params for trial in pending]
            self._fitted = key, AccuracyModel(self._space, self._observations(observed), params)
        return self._fitted[1]

    def _observations(self, trials: list[FrozenTrial]) -> list[Observation]:
        """The last of each trial, the best and then the newest trials first, then those at ASHA's
        rungs before."""
        best = sorted(trials, key=self._last_score, reverse=True)[:_NUM_KEPT]
        kept = {trial.number for trial in best}
        newest = [*best, *(trial for trial in trials[::-1] if trial.number not in kept)]
        return [
            *(self._at(trial, max(trial.intermediate_values)) for trial in newest),
            *(
                self._at(trial, epoch)
                for trial in newest
                for epoch in sorted(trial.intermediate_values)[:-1]
                if epoch in self._rungs
            ),
        ]

    def _neighbour(self, rng: random.Random, params: Params) -> Params:
        num_changes = min(len(params), rng.randint(1, _MAX_CHANGES))
        changed = set(rng.sample(sorted(params), num_changes))
        return self._draw(rng, {key: v for key, v in params.items() if key not in changed})

    def _draw(self, rng: random.Random, fixed: Params) -> Params:
        return self._space.suggest(RandomSuggester(rng.randrange(2**32), fixed))

    def _last_score(self, trial: FrozenTrial) -> float:
        return self._score(trial.intermediate_values[max(trial.intermediate_values)])

    def _at(self, trial: FrozenTrial, epoch: int) -> Observation:
        score = self._score(trial.intermediate_values[epoch])
        return Observation(trial.params, epoch, score)
