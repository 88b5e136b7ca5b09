"""A search space in Optuna's terms."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)  # fmt: skip

from slrtune.config.search_space import SearchSpace


def distributions_of(space: SearchSpace) -> dict[str, BaseDistribution]:
    """What each parameter of the space asks an Optuna trial for."""
    recorder = _Recorder()
    for parameter in space.parameters:
        parameter.suggest(recorder)
    return recorder.distributions


class _Recorder:
    """Takes down the distributions that are asked for."""

    def __init__(self) -> None:
        self.distributions: dict[str, BaseDistribution] = {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Choices."""
        self.distributions[name] = CategoricalDistribution(choices)
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Whole numbers."""
        self.distributions[name] = IntDistribution(low, high, log=log, step=step)
        return low

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """Numbers."""
        self.distributions[name] = FloatDistribution(low, high, log=log, step=step)
        return low
