"""Configurations of a search space as points of the unit cube, for what is learned of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from slrtune.config.search_space import Parameter, SearchSpace


def features_of(space: SearchSpace, params: Mapping[str, Any]) -> list[float]:
    """All parameters of the space, each by its own feature or features."""
    return [
        feature
        for parameter in space.parameters
        for feature in _parameter_features(parameter, params.get(parameter.key))
    ]


def _parameter_features(parameter: Parameter, value: Any) -> list[float]:
    """A number of its range as its (logarithmic) place between the bounds, others one-hot."""
    values = parameter.extremes()
    is_number = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if not is_number or min(values) == max(values):
        return [float(value == choice and value is not None) for choice in values]
    if value is None:
        return [0.0]  # a branch of the space that this configuration is not on
    low, high = min(values), max(values)
    if low > 0:
        return [math.log(value / low) / math.log(high / low)]
    return [(value - low) / (high - low)]
