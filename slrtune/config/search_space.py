"""A search space: ranges for dotted experiment keys, from one YAML file.

```yaml
experiment: ../experiments/fingerspelling.yaml   # what is not searched; relative to this file
parameters:
  model.name: {choices: [cnn_transformer, timesformer]}
  model.cnn_transformer.depth: {low: 1, high: 4}  # only drawn for that model
  training.learning_rate: {low: 1.0e-4, high: 3.0e-3, log: true}
  training.encoder_learning_rate: {low: 1.0e-5, high: training.learning_rate, log: true}
points:                                           # configurations tried first
  - {model.name: timesformer, training.learning_rate: 1.0e-3}
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from slrtune.config.experiment import Experiment
from slrtune.config.validate import experiment_from_dict, with_params

Params = dict[str, Any]


class Suggester(Protocol):
    """What a search space needs of an Optuna trial (or of a stand-in that draws at random)."""

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int: ...
    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float: ...


@dataclass(frozen=True)
class Parameter:
    """One searched key.

    Attributes:
        key: dotted experiment key.
        choices: values to choose from; None for a range.
        low, high: inclusive bounds of a range; both int = whole numbers. Where a bound is another
            key's value, the widest that it can be.
        step: grid of a range; None = continuous.
        log: draw the logarithm uniformly.
        when: key -> values: drawn only where every named key has one of its values.
        low_key, high_key: the key whose value is the bound; None = the bound is a number.
    """

    key: str
    choices: tuple[Any, ...] | None = None
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    low_key: str | None = None
    high_key: str | None = None

    def suggest(self, trial: Suggester) -> Any:
        """Draw a value, between the widest bounds."""
        if self.choices is not None:
            return trial.suggest_categorical(self.key, list(self.choices))
        assert self.low is not None and self.high is not None
        if isinstance(self.low, int) and isinstance(self.high, int):
            step = int(self.step or 1)
            return trial.suggest_int(self.key, self.low, self.high, step=step, log=self.log)
        step_or_none = None if self.step is None else float(self.step)
        return trial.suggest_float(
            self.key, float(self.low), float(self.high), step=step_or_none, log=self.log
        )

    def holds(self, value: Any) -> bool:
        """Whether ``value`` may be drawn: one of the choices, or within the range and on its grid.

        ``true`` is no number here, although Python takes it for 1.
        """
        if self.choices is not None:
            return any(
                value == choice and isinstance(value, bool) == isinstance(choice, bool)
                for choice in self.choices
            )
        if self.low is None or self.high is None:
            return True  # a bound that is not known yet
        if isinstance(value, bool) or not isinstance(value, int if self.is_int else int | float):
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-6

    def clip(self, value: Any, value_of: Callable[[str], Any]) -> Any:
        """The nearest value of the range, and on its grid, that keeps the bounds of other keys.

        Args:
            value: drawn between the widest bounds.
            value_of: the value of another key in the same configuration.
        """
        if self.high_key is not None:
            value = min(value, self._on_grid(value_of(self.high_key), math.floor))
        if self.low_key is not None:
            value = max(value, self._on_grid(value_of(self.low_key), math.ceil))
        return value

    def _on_grid(self, bound: float, rounded: Callable[[float], int]) -> float:
        assert self.low is not None
        step = self.step or (1 if self.is_int else None)
        if step is None:
            return float(bound)
        # 0.3 / 0.1 is 2.999…: a bound on the grid must not lose its own step
        return self.low + rounded(round((bound - self.low) / step, 9)) * step

    @property
    def depends_on(self) -> set[str]:
        """Keys whose values this parameter's condition or bounds need."""
        bounds = {key for key in (self.low_key, self.high_key) if key is not None}
        return {key for key, _ in self.when} | bounds

    @property
    def is_int(self) -> bool:
        """Whether this is a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def bounds(self) -> str:
        """The possible values, for messages."""
        if self.choices is not None:
            return f"one of {list(self.choices)}"
        kind = "a whole number " if self.is_int else ""
        grid = f" in steps of {self.step:g}" if self.step else ""
        low = self.low_key or f"{self.low:g}"
        high = self.high_key or f"{self.high:g}"
        return f"{kind}between {low} and {high}{grid}"

    @property
    def num_values(self) -> float:
        """How many values it can have; infinity for a range without steps."""
        if self.choices is not None:
            return len(self.choices)
        step = self.step or (1 if self.is_int else None)
        if step is None or self.low is None or self.high is None:
            return math.inf
        return math.floor(round((self.high - self.low) / step, 9)) + 1

    def values(self) -> tuple[Any, ...]:
        """All values that it can have, of which there must not be infinitely many."""
        if self.choices is not None:
            return self.choices
        assert self.low is not None
        step = self.step or 1
        return tuple(self.low + index * step for index in range(int(self.num_values)))

    def extremes(self) -> tuple[Any, ...]:
        """The values that stand for all: every choice, or both bounds."""
        return self.choices if self.choices is not None else (self.low, self.high)


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in an order in which conditions come before what depends on them.

    Attributes:
        name: the file's stem.
        base: configuration of everything that is not searched.
        parameters: the searched keys.
        points: configurations tried first.
    """

    name: str
    base: Experiment
    parameters: tuple[Parameter, ...]
    points: tuple[Params, ...] = ()

    @property
    def max_epochs(self) -> int:
        """The longest that any trial may train: the largest ``training.max_epochs`` of the space,
        searched or not. The clock of a scheduler must reach it."""
        searched = (p.extremes() for p in self.parameters if p.key == "training.max_epochs")
        return max(map(int, next(searched, (self.base.training.max_epochs,))))

    def suggest(self, trial: Suggester) -> Params:
        """Draw one configuration: a value for every parameter whose condition holds."""
        params: Params = {}
        for parameter in self.parameters:
            if self.is_drawn(parameter, params):
                drawn = parameter.suggest(trial)
                params[parameter.key] = parameter.clip(drawn, lambda key: self._value(key, params))
        return params

    def clipped(self, key: str, value: Any, params: Mapping[str, Any]) -> Any:
        """``value`` of a searched key within the bounds that it has beside ``params``."""
        parameter = next(parameter for parameter in self.parameters if parameter.key == key)
        return parameter.clip(value, lambda other: self._value(other, params))

    def fits(self, parameter: Parameter, value: Any, params: Params) -> bool:
        """Whether ``value`` may stand beside ``params``, which hold what it depends on."""
        if not self.is_drawn(parameter, params) or not parameter.holds(value):
            return False
        clipped = parameter.clip(value, lambda key: self._value(key, params))
        return clipped == value or abs(clipped - value) < 1e-9

    def experiment(self, params: Mapping[str, Any]) -> Experiment:
        """The base configuration with ``params`` set.

        Raises:
            ConfigError: the values do not go together.
        """
        return experiment_from_dict(with_params(self.base, params), f"search space {self.name}")

    def without(self, keys: Collection[str]) -> SearchSpace:
        """The same space with ``keys`` no longer searched: they keep the base's value."""
        left = tuple(p for p in self.parameters if p.key not in keys)
        kept = ({k: v for k, v in point.items() if k not in keys} for point in self.points)
        return replace(self, parameters=left, points=tuple(point for point in kept if point))

    def is_drawn(self, parameter: Parameter, params: Mapping[str, Any]) -> bool:
        """Whether the parameter's condition holds beside ``params``."""
        return all(self._value(key, params) in values for key, values in parameter.when)

    def _value(self, key: str, params: Mapping[str, Any]) -> Any:
        return params[key] if key in params else value_at(self.base, key)


def value_at(experiment: Experiment, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = experiment
    for part in key.split("."):
        value = getattr(value, part)
    return value
