"""A sweep's trials as Optuna's figures want them: in a study that only these figures see.

The sweep's own study is what the sampler learns from: there a trial that ASHA stopped is PRUNED,
and a figure would leave it out. Here every trial with a measured best value is COMPLETE with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from slrtune.sweep.board import TrialRow, is_ranked
from slrtune.sweep.constraints import CONSTRAINT
from slrtune.sweep.outcomes import MEMORY
from slrtune.sweep.results import SweepResults
from slrtune.sweep.study import read_study
from slrtune.sweep.trials import values_by_epoch

Direction = Literal["minimize", "maximize"]

Escape = Callable[[str], str]
"""Makes the user's text harmless to what draws it."""

Values = Callable[[TrialRow], Sequence[float] | None]
"""A trial's values in a study; None = it has none."""


@dataclass(frozen=True)
class SweepTrials:
    """A sweep's results, with every epoch's value of each trial.

    Attributes:
        results: the rows that are shown.
        frozen: the study's trials, by number.
    """

    results: SweepResults
    frozen: Mapping[int, FrozenTrial]

    def best_so_far(self, row: TrialRow) -> dict[int, float]:
        """Epoch -> the best value of the objective up to it."""
        return dict(sorted(values_by_epoch(self.frozen[row.number]).items()))

    @property
    def ranked(self) -> list[TrialRow]:
        """Trials with a best value, best first."""
        return [row for row in self.results.rows if is_ranked(row)]

    def comparable(self, num_trials: int) -> tuple[int | None, dict[int, float]]:
        """The latest epoch at which as many trials can be compared, and their values up to it.

        A trial that ended by itself before it counts with its best; one that was stopped does not.

        Returns:
            The epoch, None where there are too few, and values by trial.
        """
        curves = {row.number: self.best_so_far(row) for row in self.ranked}
        curves = {number: curve for number, curve in curves.items() if curve}
        is_whole = {row.number for row in self.ranked if row.state == "completed"}
        for epoch in sorted({max(curve) for curve in curves.values()}, reverse=True):
            values = {
                number: curve[max(e for e in curve if e <= epoch)]
                for number, curve in curves.items()
                if min(curve) <= epoch and (max(curve) >= epoch or number in is_whole)
            }
            if len(values) >= num_trials:
                return epoch, values
        return None, {}

    def study(
        self, directions: Sequence[Direction], values: Values, escape: Escape
    ) -> optuna.Study:
        """A study in memory whose trials keep their numbers.

        Args:
            directions: of the values, in Optuna's words.
            values: what each trial is shown with; one without is shown only by its epochs.
            escape: is put over all names and text.
        """
        rows = {row.number: row for row in self.results.launched}
        names = short_names({key for row in rows.values() for key in row.params})
        study = optuna.create_study(directions=list(directions))
        nothing = create_trial(state=TrialState.FAIL)
        study.add_trials(
            self._shown(rows[number], values, names, escape) if number in rows else nothing
            for number in range(max(rows, default=-1) + 1)
        )
        return study

    def _shown(
        self, row: TrialRow, values: Values, names: Mapping[str, str], escape: Escape
    ) -> FrozenTrial:
        shown = values(row) if is_ranked(row) else None
        told = self.frozen[row.number].distributions
        trial = create_trial(
            state=TrialState.PRUNED if shown is None else TrialState.COMPLETE,
            values=shown,
            params={escape(names[key]): _escaped(v, escape) for key, v in row.params.items()},
            distributions={
                escape(names[key]): CategoricalDistribution(
                    [_escaped(choice, escape) for choice in of_key.choices]
                )
                if isinstance(of_key := told[key], CategoricalDistribution)
                else of_key
                for key in row.params
            },
            intermediate_values=self.best_so_far(row),
        )
        budget_gib = self.results.budget_gib
        if budget_gib is not None:  # what was not measured is no reason against it
            trial.set_constraint(CONSTRAINT, row.metrics.get(MEMORY, 0.0) - budget_gib)
        return trial


def read_trials(folder: Path, results: SweepResults) -> SweepTrials:
    """The trials of the results' rows; a running sweep may have more by now."""
    trials = read_study(folder).get_trials(deepcopy=False)
    return SweepTrials(results, {trial.number: trial for trial in trials})


def short_names(keys: set[str]) -> dict[str, str]:
    """Key -> its last parts, as many as tell it from the other keys: ``depth``, not its path."""
    names = {}
    for key in keys:
        parts = key.split(".")
        least = 2 if parts[-1] == "name" else 1  # of what, one would ask
        endings = [".".join(parts[-count:]) for count in range(least, len(parts) + 1)]
        names[key] = next(end for end in [*endings, key] if _ends_one(end, keys) or end == key)
    return names


def _ends_one(ending: str, keys: set[str]) -> bool:
    return sum(f".{key}".endswith(f".{ending}") for key in keys) == 1


def _escaped(value: Any, escape: Escape) -> Any:
    return escape(value) if isinstance(value, str) else value
