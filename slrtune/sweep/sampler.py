"""Optuna's samplers, within the bounds and the memory budget of a search space.

TPE alone reads violated constraints, but slowly: its density of good trials leans on the budget's
edge, where accuracy is best, and a quarter to a third of its draws go on falling over it
(`benchmarks/searcher.py`). So it is asked for several candidates, and the first that a model of the
memory seen so far expects to fit is the one that is drawn.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.search_space import SearchSpace
from slrtune.config.search_space_checks import RandomSuggester
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.memory_model import MemoryModel

_NUM_CANDIDATES = 16
_MIN_PROBABILITY = 0.7
_MIN_KNOWN = 6  # configurations of known memory before the model is asked


class SpaceSampler(BaseSampler):
    """Another sampler, whose draws keep to the space's dependent bounds and probably to its budget.

    Args:
        inner: what draws.
        space: the search space.
        budget: the memory budget; candidates are weighed where it has one.
        seed: of what is drawn at random before ``inner`` has enough to go by.
    """

    def __init__(
        self, inner: BaseSampler, space: SearchSpace, budget: MemoryBudget, seed: int
    ) -> None:
        self._inner, self._space, self._budget = inner, space, budget
        self._random = random.Random(seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Optuna's hook."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Optuna's hook: the first candidate that probably fits, or the likeliest of all."""
        model = self._memory_model(study)
        if model is None or not search_space:
            drawn = self._inner.sample_relative(study, trial, search_space)
            return self._within_bounds(drawn) if drawn else {}
        best: tuple[float, dict[str, Any]] = (-1.0, {})
        for _ in range(_NUM_CANDIDATES):
            drawn = self._inner.sample_relative(study, trial, search_space)
            whole = self._complete(drawn)
            probability = model.probability_within(self._budget.budget_gib or 0.0, whole)
            # Before the inner sampler models anything, what was drawn at random stands for it.
            relative = {**drawn, **{k: v for k, v in whole.items() if k in search_space}}
            if probability > best[0]:
                best = (probability, relative)
            if probability >= _MIN_PROBABILITY:
                break
        return best[1]

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Optuna's hook, for parameters that no earlier trial has."""
        value = self._inner.sample_independent(study, trial, param_name, param_distribution)
        return self._space.clipped(param_name, value, trial.params)

    def reseed_rng(self) -> None:
        """Optuna's hook."""
        self._inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Optuna's hook."""
        self._inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """Optuna's hook."""
        self._inner.after_trial(study, trial, state, values)

    def _memory_model(self, study: Study) -> MemoryModel | None:
        if self._budget.budget_gib is None or isinstance(self._inner, RandomSampler):
            return None
        trials = study.get_trials(deepcopy=False)
        needed = [(trial.params, self._budget.needed_gib(trial)) for trial in trials]
        known = [(params, gib) for params, gib in needed if gib is not None]
        if len(known) < _MIN_KNOWN:
            return None
        return MemoryModel(self._space, [p for p, _ in known], [gib for _, gib in known])

    def _complete(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        """One whole configuration of the space, with ``drawn`` where it applies."""
        return self._space.suggest(RandomSuggester(self._random.randrange(2**32), drawn))

    def _within_bounds(self, drawn: Mapping[str, Any]) -> dict[str, Any]:
        within = dict(drawn)
        for parameter in self._space.parameters:
            if parameter.key in within:
                value = within[parameter.key]
                within[parameter.key] = self._space.clipped(parameter.key, value, within)
        return within


def make_sampler(sweep: SweepConfig, space: SearchSpace, budget: MemoryBudget) -> SpaceSampler:
    """Optuna's sampler by name; the same seed gives the same suggestions."""
    return SpaceSampler(_inner_sampler(sweep), space, budget, sweep.seed)


def _inner_sampler(sweep: SweepConfig) -> BaseSampler:
    if sweep.sampler == "random":
        return RandomSampler(seed=sweep.seed)
    with warnings.catch_warnings():
        # multivariate, group and constant_liar are "experimental" by name only.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            seed=sweep.seed,
            n_startup_trials=sweep.num_startup_trials,
            multivariate=True,
            group=True,  # conditional spaces: model each branch on its own
            constant_liar=True,  # several trials run at a time
        )
