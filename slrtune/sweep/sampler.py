"""Optuna's samplers, within the bounds and the memory budget of a search space.

TPE reads violated constraints by itself, but as bad results: its two densities then say "away from
what is too large", and the best accuracy often lies right beside it. So here the two questions are
kept apart, in the spirit of c-TPE (Watanabe & Hutter 2023): TPE learns accuracy from the trials
that fitted, and a model of memory (`memory_model`) picks among its candidates the first that will
probably fit. `benchmarks/searcher.py` measures it against TPE with the constraint alone, and
against random draws within the budget: over some twenty trials it is not shown to beat the latter.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from slrtune.config.search_space import Params, SearchSpace
from slrtune.config.search_space_checks import RandomSuggester
from slrtune.config.sweep import SweepConfig
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.distributions import distributions_of
from slrtune.sweep.memory_model import MemoryModel

# Of the sampler, and where none of these fits, at random.
_NUM_CANDIDATES, _NUM_RANDOM_CANDIDATES = 16, 64
_MIN_PROBABILITY = 0.7
_MIN_KNOWN = 6  # configurations of known memory before the model is asked


class SpaceSampler(BaseSampler):
    """Draws whole configurations of a space, which keep to its bounds and probably to its budget.

    Args:
        inner: what draws.
        space: the search space.
        budget: the memory budget; candidates are weighed where it has one.
        seed: of candidates at random, where ``inner`` has none that fits.
    """

    def __init__(
        self, inner: BaseSampler, space: SearchSpace, budget: MemoryBudget, seed: int
    ) -> None:
        self._inner, self._space, self._budget = inner, space, budget
        self._random = random.Random(seed)
        self._distributions = distributions_of(space)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Optuna's hook: the whole space."""
        return self._distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Optuna's hook: the first candidate that probably fits, or the likeliest of all."""
        fixed = trial.system_attrs.get("fixed_params", {})
        model = self._memory_model(study)
        candidates = self._candidates(study, trial, fixed, hide_infeasible=model is not None)
        if model is None or self._budget.budget_gib is None:
            return next(candidates)
        best: tuple[float, Params] = (-1.0, {})
        for params in candidates:
            probability = model.probability_within(self._budget.budget_gib, params)
            if probability >= _MIN_PROBABILITY:
                return params
            if probability > best[0]:
                best = (probability, params)
        return best[1]

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Optuna's hook, for a parameter that is not of the space."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Optuna's hook."""
        self._inner.reseed_rng()

    def _candidates(
        self, study: Study, asked: FrozenTrial, fixed: Mapping[str, Any], *, hide_infeasible: bool
    ) -> Iterator[Params]:
        """What ``inner`` draws after what it may see of the study, then random configurations."""
        seen = optuna.create_study(sampler=self._inner, directions=study.directions)
        for trial in study.get_trials(deepcopy=False):
            is_hidden = hide_infeasible and any(v > 0 for v in trial.constraints.values())
            is_told = trial.state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
            if is_told and not is_hidden and trial.number != asked.number:
                seen.add_trial(trial)
        for _ in range(_NUM_CANDIDATES):
            candidate = seen.ask()
            yield self._space.suggest(_WithFixed(candidate, fixed))
            # It would else count as one that is being tried.
            seen.tell(candidate, state=TrialState.FAIL)
        for _ in range(_NUM_RANDOM_CANDIDATES):
            yield self._space.suggest(RandomSuggester(self._random.randrange(2**32), fixed))

    def _memory_model(self, study: Study) -> MemoryModel | None:
        if self._budget.budget_gib is None or isinstance(self._inner, RandomSampler):
            return None
        trials = study.get_trials(deepcopy=False)
        needed = [(trial.params, self._budget.needed_gib(trial)) for trial in trials]
        known = [(params, gib) for params, gib in needed if gib is not None]
        if len(known) < _MIN_KNOWN:
            return None
        return MemoryModel(self._space, [p for p, _ in known], [gib for _, gib in known])


class _WithFixed:
    """A trial of which some parameters are given: a point of the search space."""

    def __init__(self, trial: optuna.Trial, fixed: Mapping[str, Any]) -> None:
        self._trial, self._fixed = trial, fixed

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """The given value, or the trial's."""
        if name in self._fixed:
            return self._fixed[name]
        return self._trial.suggest_categorical(name, choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """The given value, or the trial's."""
        if name in self._fixed:
            return int(self._fixed[name])
        return self._trial.suggest_int(name, low, high, step=step, log=log)

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """The given value, or the trial's."""
        if name in self._fixed:
            return float(self._fixed[name])
        return self._trial.suggest_float(name, low, high, step=step, log=log)


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
