"""What proposes configurations, within the bounds and the memory budget of a search space.

A sampler that takes violated constraints as bad results learns "away from what is too large", and
the best accuracy often lies right beside it. So here the two questions are kept apart, in the
spirit of c-TPE (Watanabe & Hutter 2023): a Gaussian process (`proposals`) or Optuna's TPE learns
accuracy from the trials that fitted, and a model of memory (`memory_model`) picks among their
candidates the first that will probably fit. `benchmarks/searcher.py` measures both, and random
draws within the budget.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, Protocol

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
from slrtune.sweep.evolution import EvolutionProposals
from slrtune.sweep.grid import GridProposals
from slrtune.sweep.memory_model import MemoryModel
from slrtune.sweep.proposals import GaussianProcessProposals

# Of TPE, and where none of these fits, at random.
_NUM_CANDIDATES, _NUM_RANDOM_CANDIDATES = 16, 64
_MIN_PROBABILITY, _MAX_WEIGHED = 0.7, 200
_MIN_KNOWN = 6  # configurations of known memory before the model is asked


class Proposals(Protocol):
    """What ranks configurations."""

    def ranked(self, trials: Sequence[FrozenTrial], number: int) -> Iterator[Params]:
        """Configurations for trial ``number`` after what the others have shown, best first."""


class SpaceSampler(BaseSampler):
    """Draws whole configurations of a space, which keep to its bounds and probably to its budget.

    Args:
        make_inner: Optuna's sampler of a seed, which draws where ``proposals`` does not.
        space: the search space.
        budget: the memory budget; candidates are weighed where it has one.
        seed: each trial has a seed of its own from it and its number, so that a sweep that was cut
            off goes on as it would have.
        proposals: what ranks candidates; None = ``make_inner``'s draws them.
        learns_memory: whether candidates are weighed by what earlier trials needed.
    """

    def __init__(
        self,
        make_inner: Callable[[int], BaseSampler],
        space: SearchSpace,
        budget: MemoryBudget,
        seed: int,
        proposals: Proposals | None = None,
        learns_memory: bool = True,
    ) -> None:
        self._learns_memory = learns_memory
        self._make_inner, self._space, self._budget = make_inner, space, budget
        self._proposals, self._seed = proposals, seed
        self._distributions = distributions_of(space)

    def is_tried_out(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether there is nothing that was not given out yet: never but with a grid."""
        return isinstance(self._proposals, GridProposals) and self._proposals.is_tried_out(trials)

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
        if self._proposals is not None and not fixed:
            trials = study.get_trials(deepcopy=False)
            candidates = self._proposals.ranked(trials, trial.number)
        else:
            candidates = self._candidates(study, trial, fixed, hide_infeasible=model is not None)
        if model is None or self._budget.budget_gib is None:
            return next(candidates)
        best: tuple[float, Params] = (-1.0, {})
        for params in islice(candidates, _MAX_WEIGHED):
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
        inner = self._make_inner(self._random_of(trial).randrange(2**32))
        return inner.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Optuna's hook: nothing, each trial has a seed of its own."""

    def _random_of(self, trial: FrozenTrial) -> random.Random:
        return random.Random(f"{self._seed} {trial.number}")

    def _candidates(
        self, study: Study, asked: FrozenTrial, fixed: Mapping[str, Any], *, hide_infeasible: bool
    ) -> Iterator[Params]:
        """What ``inner`` draws after what it may see of the study, then random configurations."""
        generator = self._random_of(asked)
        inner = self._make_inner(generator.randrange(2**32))
        seen = optuna.create_study(sampler=inner, directions=study.directions)
        # One that learns nothing need not be told of all trials for each that it draws.
        is_told_all = not isinstance(inner, RandomSampler)
        for trial in study.get_trials(deepcopy=False) if is_told_all else []:
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
            yield self._space.suggest(RandomSuggester(generator.randrange(2**32), fixed))

    def _memory_model(self, study: Study) -> MemoryModel | None:
        if self._budget.budget_gib is None or not self._learns_memory:
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
    """The sampler that a sweep asks for; the same seed gives the same suggestions."""
    name = sweep.sampler
    if name == "auto" and sweep.scheduler == "pbt":
        name = "random"
    elif name == "auto":
        name = "tpe" if sweep.objective == "pareto" else "gp"
    proposals: Proposals | None = None
    if name == "gp":
        proposals = GaussianProcessProposals(space, sweep)
    elif name == "grid":
        proposals = GridProposals(space, sweep.seed)
    elif name == "cmaes":
        proposals = EvolutionProposals(space, sweep.seed)
    make_inner = partial(_tpe, sweep) if name == "tpe" else RandomSampler
    return SpaceSampler(make_inner, space, budget, sweep.seed, proposals, name != "random")


def _tpe(sweep: SweepConfig, seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        # multivariate, group and constant_liar are "experimental" by name only.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return TPESampler(
            seed=seed,
            n_startup_trials=sweep.num_startup_trials,
            multivariate=True,
            group=True,  # conditional spaces: model each branch on its own
            constant_liar=True,  # several trials run at a time
        )
