"""The memory budget of a search: what a configuration is predicted to need, and by how much it is
over.

To Optuna a budget is a constraint in GiB: needed memory less budget, violated when above 0.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from slrtune.config.errors import UserError
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Params, SearchSpace
from slrtune.sweep.outcomes import MEMORY, PREDICTED_NEED

_logger = logging.getLogger(__name__)

CONSTRAINT = "memory_gib"
# A trial that ran out of memory is over, however little its last measurement says so.
_LEAST_VIOLATION_GIB = 0.01


class Prediction(Protocol):
    """What a configuration is predicted to need, in GiB."""

    @property
    def train_peak_gib(self) -> float: ...
    @property
    def inference_peak_gib(self) -> float: ...


class MemoryPredictor(Protocol):
    """Predicts without training; may take seconds."""

    def predict(self, experiment: Experiment) -> Prediction: ...


@dataclass
class MemoryBudget:
    """Whether configurations fit.

    Attributes:
        budget_gib: training memory that a worker may take; None = any.
        predictor: None = nothing is predicted, only what ran out of memory is known.
    """

    budget_gib: float | None = None
    predictor: MemoryPredictor | None = None
    _known: dict[str, Prediction | None] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        # Tune pickles its searcher, which it never needs again: the study is the record.
        return {"budget_gib": self.budget_gib, "predictor": None, "_known": {}}

    @property
    def can_predict(self) -> bool:
        """Whether configurations are predicted at all."""
        return self.budget_gib is not None and self.predictor is not None

    def predict(self, space: SearchSpace, params: Params) -> Prediction | None:
        """The configuration's memory; None where there is no budget, or nothing can be said."""
        if self.budget_gib is None or self.predictor is None:
            return None
        key = json.dumps(params, sort_keys=True, default=str)
        if key not in self._known:
            self._known[key] = self._ask(self.predictor, space, params)
        return self._known[key]

    def _ask(
        self, predictor: MemoryPredictor, space: SearchSpace, params: Params
    ) -> Prediction | None:
        try:
            return predictor.predict(space.experiment(params))
        except UserError:
            return None  # a mistake in the configuration: its trial will tell it
        except Exception:
            # The trial is launched: it may fit, and if it does not, its worker catches that.
            _logger.exception("the memory of %s cannot be predicted", params)
            return None

    def fits(self, prediction: Prediction | None) -> bool:
        """Whether a configuration may be launched."""
        if self.budget_gib is None or prediction is None:
            return True
        return prediction.train_peak_gib <= self.budget_gib

    def violation_gib(self, outcome: str, figures: Mapping[str, Any]) -> float | None:
        """Optuna's constraint of an ended trial; None where there is nothing to hold it against.

        Args:
            outcome: how it ended.
            figures: its measured peak, where it ran out of memory a lower bound, or its prediction.
        """
        needed_gib = figures.get(MEMORY, figures.get(PREDICTED_NEED))
        over_gib = None
        if self.budget_gib is not None and needed_gib is not None:
            over_gib = needed_gib - self.budget_gib
        if outcome == "oom":
            return max(over_gib or 0.0, _LEAST_VIOLATION_GIB)
        return over_gib

    def needed_gib(self, trial: FrozenTrial) -> float | None:
        """What a trial is known to need: as predicted, unless running proved that it needs more."""
        predicted_gib: float | None = trial.user_attrs.get(PREDICTED_NEED)
        if CONSTRAINT not in trial.constraints or self.budget_gib is None:
            return predicted_gib
        told_gib = trial.constraints[CONSTRAINT] + self.budget_gib
        is_oom = trial.user_attrs.get("outcome") == "oom"
        return told_gib if predicted_gib is None or is_oom else predicted_gib
