"""Every configuration of a space of choices and steps, each once."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial

from slrtune.config.search_space import Params, SearchSpace
from slrtune.sweep.trials import was_given_out


class GridProposals:
    """Proposes what was not tried yet, in an order that the seed decides: a sweep that ends before
    the grid has then seen all parts of it.

    Args:
        space: of choices, whole numbers and steps only.
        seed: of the order.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        found = {_key(params): params for params in _all(space, {}, 0)}
        self._grid = list(found.values())
        random.Random(seed).shuffle(self._grid)

    def ranked(self, trials: Sequence[FrozenTrial], number: int) -> Iterator[Params]:
        """Configurations for trial ``number``: none twice."""
        tried = _tried(trial for trial in trials if trial.number != number)
        return (params for params in self._grid if _key(params) not in tried)

    def is_tried_out(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether every configuration was given out."""
        tried = _tried(trials)
        return all(_key(params) in tried for params in self._grid)


def _all(space: SearchSpace, params: Params, index: int) -> Iterator[Params]:
    if index == len(space.parameters):
        yield params
        return
    parameter = space.parameters[index]
    if not space.is_drawn(parameter, params):
        yield from _all(space, params, index + 1)
        return
    for value in parameter.values():
        clipped = space.clipped(parameter.key, value, params)
        yield from _all(space, {**params, parameter.key: clipped}, index + 1)


def _tried(trials: Iterator[FrozenTrial] | Sequence[FrozenTrial]) -> set[str]:
    return {_key(trial.params) for trial in trials if was_given_out(trial)}


def _key(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)
