"""Warm start: what an earlier sweep found out, told to the sampler of a new one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from slrtune.config.addresses import shown
from slrtune.config.errors import ConfigError
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Params, SearchSpace, value_at
from slrtune.sweep.board import TrialRow
from slrtune.sweep.constraints import CONSTRAINT, MemoryBudget
from slrtune.sweep.distributions import distributions_of
from slrtune.sweep.outcomes import MEMORY, PREDICTED_NEED, WARM_START_FROM
from slrtune.sweep.results import SweepResults, read_results
from slrtune.sweep.study import objectives, read_study
from slrtune.sweep.trials import values_by_epoch

_SPEED_OF_MODEL = {"attention_chunk_size", "activation_checkpointing"}
_SPEED_OF_TRAINING = {"compile", "deterministic", "empty_cache_each_epoch", "cache_features"}
_PLACE_OF_DATA = {"cache_dir", "cache_size_gib", "num_loader_workers", "pack"}


@dataclass(frozen=True)
class WarmStart:
    """What is taken over from an earlier sweep.

    Attributes:
        folder: of the earlier sweep.
        num_finished: its finished trials, those that were predicted over its budget included.
        trials: of these, those that the present space could have drawn, as the new study is told.
    """

    folder: Path
    num_finished: int
    trials: list[FrozenTrial]


def read_warm_start(folder: Path, space: SearchSpace, budget: MemoryBudget) -> WarmStart:
    """The finished trials of an earlier sweep, for the sampler of a new one.

    They are COMPLETE or PRUNED as they were, weighed against the present budget, and marked by the
    user attribute ``warm_start_from``: `read_results` leaves them out.

    Args:
        folder: of the earlier sweep.
        space: the present search space. A trial fits it if its whole configuration agrees: what is
            searched now lies within the ranges, what was searched then has the present value.
        budget: the present memory budget.

    Raises:
        UserError: there is no readable sweep.
    """
    earlier = read_results(folder)
    rows = {row.number: row for row in earlier.rows}
    finished = [
        trial
        for trial in read_study(folder).get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) and trial.number in rows
    ]
    num_objectives = len(objectives(space.base.sweep, space.base.objective))
    of_space = distributions_of(space)
    told = []
    for trial in finished:
        row = rows[trial.number]
        params = params_in(space, earlier, row)
        if params is None or not _says_something(row, earlier, budget):
            continue
        row.metrics[WARM_START_FROM] = shown(earlier.folder)
        distributions = {key: of_space[key] for key in params}
        told.append(_as_told(row, values_by_epoch(trial), params, distributions, num_objectives))
        over_gib = budget.violation_gib(row.state, row.metrics)
        if over_gib is not None:
            told[-1].set_constraint(CONSTRAINT, over_gib)
    return WarmStart(folder, len(finished), told)


def params_in(space: SearchSpace, earlier: SweepResults, row: TrialRow) -> Params | None:
    """An earlier trial as a draw of the present space; None where it could not have been drawn."""
    try:
        configuration = earlier.experiment(row)
    except ConfigError:
        return None  # a rule has come since
    params: Params = {}
    for parameter in space.parameters:
        value = value_at(configuration, parameter.key)
        if space.fits(parameter, value, params):
            params[parameter.key] = value
        elif space.is_drawn(parameter, params):
            return None
    now = space.experiment(params)
    is_same = _what_decides_accuracy(now) == _what_decides_accuracy(configuration)
    return params if is_same else None


def _what_decides_accuracy(experiment: Experiment) -> dict[str, object]:
    """The configuration without what only says where things lie, or how fast they go."""
    name = experiment.model.name
    return {
        "model": (name, getattr(experiment.model, name).model_dump(exclude=_SPEED_OF_MODEL)),
        "data": experiment.data.model_dump(exclude=_PLACE_OF_DATA),
        "training": experiment.training.model_dump(exclude=_SPEED_OF_TRAINING),
    }


def _says_something(row: TrialRow, earlier: SweepResults, budget: MemoryBudget) -> bool:
    """What did not fit a smaller budget may fit the present one: nothing is known of it."""
    if row.state not in ("oom", "infeasible"):
        return True
    needed_gib = row.metrics.get(MEMORY, row.metrics.get(PREDICTED_NEED, 0.0))
    if budget.budget_gib is None:
        return row.state == "oom" and earlier.budget_gib is None
    is_as_large = earlier.budget_gib is not None and earlier.budget_gib >= budget.budget_gib
    return needed_gib > budget.budget_gib or (row.state == "oom" and is_as_large)


def _as_told(
    row: TrialRow,
    epochs: dict[int, float],
    params: Params,
    distributions: dict[str, BaseDistribution],
    num_objectives: int,
) -> FrozenTrial:
    """The trial as `TruthfulSearch` would have told it."""
    values = [row.best_value, row.metrics.get(MEMORY)][:num_objectives]
    is_known = all(value is not None for value in values)
    is_pareto = num_objectives > 1
    is_complete = row.state == "completed" or (row.state == "pruned" and is_pareto)
    return create_trial(
        state=TrialState.COMPLETE if is_complete and is_known else TrialState.PRUNED,
        values=values if is_known and (is_complete or not is_pareto) else None,  # type: ignore[arg-type]
        params=params,
        distributions=distributions,
        user_attrs={**row.metrics, "outcome": row.state},
        intermediate_values=None if is_pareto else epochs,
    )
