"""What a search space would take, before anything is trained: memory of many draws, and time."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna

from slrtune.config.errors import ConfigError, UserError
from slrtune.config.experiment import Experiment
from slrtune.config.search_space import Params, SearchSpace
from slrtune.config.sweep import SweepConfig

_NUM_BINS = 4  # of a searched range


class Prediction(Protocol):
    """Predicted memory of one configuration."""

    @property
    def train_peak_gib(self) -> float: ...
    @property
    def parts(self) -> Mapping[str, float]: ...


class Predictor(Protocol):
    """What `slrtune.memory.MemoryPredictor` does."""

    def predict(self, experiment: Experiment) -> Prediction: ...


@dataclass(frozen=True)
class Draw:
    """One configuration of the space and its predicted peak memory in training."""

    params: Params
    experiment: Experiment
    peak_gib: float
    parts: Mapping[str, float]


@dataclass(frozen=True)
class ValueShare:
    """How much of what has a certain value of a parameter is over the budget."""

    key: str
    values: str
    num_draws: int
    num_over: int

    @property
    def share_over(self) -> float:
        """Over the budget, 0..1."""
        return self.num_over / self.num_draws


@dataclass(frozen=True)
class MemoryForecast:
    """Predicted memory over a search space.

    Attributes:
        budget_gib: None = no budget.
        draws: at random, as the space's ranges say; points first.
        num_invalid: draws whose values do not go together.
    """

    budget_gib: float | None
    draws: Sequence[Draw]
    num_invalid: int = 0

    @property
    def over(self) -> list[Draw]:
        """Draws that a sweep would not launch."""
        return [draw for draw in self.draws if self.is_over(draw)]

    def is_over(self, draw: Draw) -> bool:
        """Whether a sweep would not launch ``draw``."""
        return self.budget_gib is not None and draw.peak_gib > self.budget_gib

    @property
    def share_fitting(self) -> float:
        """Draws within the budget, 0..1."""
        return 1.0 - len(self.over) / len(self.draws)

    def reasons(self) -> list[ValueShare]:
        """Parameter values whose draws are dropped more often than others, worst first.

        Ranges are cut into quarters of their draws.
        """
        over = {id(draw) for draw in self.over}
        shares = []
        for key in sorted({key for draw in self.draws for key in draw.params}):
            groups: dict[str, list[Draw]] = defaultdict(list)
            label = _binning([draw.params[key] for draw in self.draws if key in draw.params])
            for draw in self.draws:
                if key in draw.params:
                    groups[label(draw.params[key])].append(draw)
            counted = [
                ValueShare(key, values, len(group), sum(id(draw) in over for draw in group))
                for values, group in groups.items()
            ]
            mean = sum(c.num_over for c in counted) / max(sum(c.num_draws for c in counted), 1)
            shares += [share for share in counted if share.share_over > max(1.3 * mean, 0.05)]
        return sorted(shares, key=lambda share: (-share.share_over, share.key))


def forecast_memory(
    space: SearchSpace,
    predictor: Predictor,
    budget_gib: float | None,
    num_draws: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> MemoryForecast:
    """Predict the points of a space and random draws from it.

    Raises:
        UserError: a draw cannot be predicted, or no draw holds values that go together.
    """
    draws, num_invalid = [], 0
    for done, params in enumerate(draw_params(space, num_draws), 1):
        on_progress(done, num_draws)
        try:
            experiment = space.experiment(params)
        except ConfigError:
            num_invalid += 1  # values that do not go together: in a sweep such a trial fails
            continue
        prediction = _predicted(predictor, experiment, params)
        draws.append(Draw(params, experiment, prediction.train_peak_gib, prediction.parts))
    if not draws:
        raise UserError(
            f"{space.name}: some of its values must go together, but none of {num_invalid} draws "
            "does; correct its ranges or conditions"
        )
    return MemoryForecast(budget_gib, draws, num_invalid)


def _predicted(predictor: Predictor, experiment: Experiment, params: Params) -> Prediction:
    try:
        return predictor.predict(experiment)
    except UserError:
        raise
    except Exception as error:  # whatever a model's own code raises while it is traced
        first_line = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"the memory of {params} cannot be predicted ({type(error).__name__}: {first_line}); "
            "a sweep would launch it all the same; leave its values out of what you plan"
        ) from error


def draw_params(space: SearchSpace, num_draws: int) -> list[Params]:
    """The space's points, then random draws; the sweep's seed decides which."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.RandomSampler(seed=space.base.sweep.seed)
    study = optuna.create_study(sampler=sampler)
    for point in space.points:
        study.enqueue_trial(point)
    return [space.suggest(study.ask()) for _ in range(num_draws)]


def expected_epochs(sweep: SweepConfig, max_epochs: int) -> float:
    """Epochs of a mean trial: ASHA lets 1 / reduction_factor of the trials past each rung.

    A lower bound: the first trials at a rung pass it for want of others to compare with.
    """
    survivors, epochs, previous = 1.0, 0.0, 0
    for rung in sweep.rungs(max_epochs):
        epochs += survivors * (rung - previous)
        survivors /= sweep.asha.reduction_factor
        previous = rung
    return epochs + survivors * (max_epochs - previous)


def _binning(values: Sequence[Any]) -> Callable[[Any], str]:
    """Names the group that a value belongs to: itself, or one of four ranges."""
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not is_number or len(Counter(map(repr, values))) <= 2 * _NUM_BINS:
        return str
    ordered = sorted(values)
    edges = [ordered[len(ordered) * i // _NUM_BINS] for i in range(1, _NUM_BINS)]
    bounds = [ordered[0], *edges, ordered[-1]]

    def label(value: Any) -> str:
        place = sum(value >= edge for edge in edges)
        return f"{bounds[place]:.3g} to {bounds[place + 1]:.3g}"

    return label
