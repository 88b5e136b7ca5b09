"""What may be wrong with a whole search space: values, conditions and combinations, by drawing."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping
from typing import Any

from slrtune.config.errors import Mistake
from slrtune.config.population import population_mistakes
from slrtune.config.search_space import Parameter, Params, SearchSpace, Suggester, value_at
from slrtune.config.validate import validate, validate_keys, with_params
from slrtune.config.yaml_file import KeyPath, YamlFile

# Draws that are checked for values that do not go together.
_NUM_DRAWS = 300
_NUM_DRAWS_PER_POINT = 20
_MAX_GRID = 100_000


def space_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    """Each value alone against its key's own rule, conditions, then rules between keys."""
    return (
        [
            *_value_mistakes(space, file),
            *_condition_mistakes(space, file),
            *_search_mistakes(space, file),
            *_task_mistakes(space, file),
        ]
        or _drawn_mistakes(space, file, RandomSuggester(seed=0), _NUM_DRAWS, ("parameters",))
        or _point_mistakes(space, file)
    )


def unmet_conditions(parameter: Parameter, space: SearchSpace) -> list[tuple[str, str]]:
    """Conditions of ``parameter`` that no draw of ``space`` meets: the key, and what is wrong."""
    by_key = {searched.key: searched for searched in space.parameters}
    unmet = []
    for key, wanted in parameter.when:
        base_value = value_at(space.base, key)
        searched = by_key.get(key)
        is_possible = searched is not None and any(searched.holds(value) for value in wanted)
        is_fixed = searched is None or bool(searched.when)
        if not is_possible and not (is_fixed and base_value in wanted):
            values = " or ".join(map(str, wanted))
            actual = searched.bounds() if searched else base_value
            unmet.append((key, f"{key} must be {values}, but is {actual}"))
    return unmet


def _value_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    mistakes: list[Mistake] = []
    for parameter in space.parameters:
        place = (file.name, file.line_of(("parameters", parameter.key)))
        for value in parameter.extremes():
            raw = with_params(space.base, {parameter.key: value})
            # Rules between keys are judged on whole draws: alone, a value may break one that its
            # companions in the space would keep.
            found = validate_keys(raw, lambda _, place=place: place)[1]  # type: ignore[misc]
            mistakes += [m for m in found if m.key == parameter.key]
    return mistakes


def _condition_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    mistakes = []
    for parameter in space.parameters:
        unmet = [reason for _, reason in unmet_conditions(parameter, space)]
        if unmet:
            line = file.line_of(("parameters", parameter.key))
            rule = f"is never drawn: {' and '.join(unmet)}; remove it or mend the condition"
            mistakes.append(Mistake(file.name, line, parameter.key, rule))
    return mistakes


def _search_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    """What the sampler or the scheduler cannot search."""
    rules = {"grid": _grid_rules, "cmaes": _cmaes_rules}.get(space.base.sweep.sampler)
    found = [*([] if rules is None else rules(space)), *population_mistakes(space)]
    return [
        Mistake(file.name, file.line_of(("parameters", key) if key else ("parameters",)), key, rule)
        for key, rule in found
    ]


def _grid_rules(space: SearchSpace) -> list[tuple[str, str]]:
    endless = [p.key for p in space.parameters if p.num_values == math.inf]
    if endless:
        rule = "must have choices or a step for sweep.sampler grid; add one, or use another sampler"
        return [(key, rule) for key in endless]
    size = math.prod(p.num_values for p in space.parameters)
    if size > _MAX_GRID:
        rule = f"make a grid of {size:.3g}, more than {_MAX_GRID}; widen steps or drop a parameter"
        return [("", rule)]
    return []


def _cmaes_rules(space: SearchSpace) -> list[tuple[str, str]]:
    searched = {parameter.key for parameter in space.parameters}
    found = []
    for parameter in space.parameters:
        if parameter.choices is not None:
            rule = "must be a range for sweep.sampler cmaes, but has choices; use gp or tpe"
            found.append((parameter.key, rule))
        elif any(key in searched for key, _ in parameter.when):
            rule = "must have no condition for sweep.sampler cmaes; use gp or tpe"
            found.append((parameter.key, rule))
    if len(space.parameters) < 2:
        found.append(("", "must be at least two for sweep.sampler cmaes; use gp or tpe"))
    return found


def _task_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    """Accuracies of glosses and of texts cannot be compared, nor be learnt from the same clips."""
    for parameter in space.parameters:
        if parameter.key != "model.name":
            continue
        model, base = space.base.model, space.base.model.task
        odd = [
            name
            for name in parameter.choices or ()
            if hasattr(model, str(name))  # others are told by their own rule
            and model.model_copy(update={"name": name}).task != base
        ]
        if odd:
            rule = (
                f"must name models of one task, but {', '.join(odd)} and the experiment's "
                f"{model.name} do not do the same; search them in spaces of their own"
            )
            line = file.line_of(("parameters", "model.name"))
            return [Mistake(file.name, line, "model.name", rule)]
    return []


def _point_mistakes(space: SearchSpace, file: YamlFile) -> list[Mistake]:
    """Points whose values do not go together, or not with what is drawn for the rest."""
    mistakes: list[Mistake] = []
    for position, point in enumerate(file.data.get("points") or []):
        place = ("points", str(position))
        fixed = {key: point[key] for key in point if key in {p.key for p in space.parameters}}
        for parameter in space.parameters:
            for key, wanted in parameter.when if parameter.key in fixed else ():
                if key in fixed and fixed[key] not in wanted:
                    rule = f"is not drawn in this point, where {key} is {fixed[key]}; remove it"
                    line = file.line_of((*place, parameter.key))
                    mistakes.append(Mistake(file.name, line, parameter.key, rule))
            if parameter.key in fixed:
                line = file.line_of((*place, parameter.key))
                found = _point_bound_mistakes(space, parameter, fixed)
                mistakes += [Mistake(file.name, line, parameter.key, rule) for rule in found]
        draw = RandomSuggester(seed=0, fixed=fixed)
        mistakes += _drawn_mistakes(space, file, draw, _NUM_DRAWS_PER_POINT, place)
    return mistakes


def _point_bound_mistakes(space: SearchSpace, parameter: Parameter, point: Params) -> list[str]:
    """A point's value must keep to its bounds as it stands, or another one would be trained."""
    searched = {other.key for other in space.parameters}
    for bound in (parameter.low_key, parameter.high_key):
        if bound in searched and bound not in point:
            return [f"is bounded by {bound}, which this point lacks; add it"]
    value = point[parameter.key]
    clipped = parameter.clip(value, lambda key: point.get(key, value_at(space.base, key)))
    if clipped != value:
        return [f"must be {parameter.bounds()}, here {clipped:g}, but is {value!r}"]
    return []


def _drawn_mistakes(
    space: SearchSpace, file: YamlFile, draw: Suggester, num_draws: int, place: KeyPath
) -> list[Mistake]:
    """One example for each key: a space can break a rule in hundreds of ways."""
    mistakes: set[Mistake] = set()
    searched = {parameter.key for parameter in space.parameters}
    for _ in range(num_draws):
        raw = with_params(space.base, space.suggest(draw))
        for mistake in validate(raw, lambda _: (file.name, 0))[1]:
            key = mistake.key if mistake.key in searched else place[0]
            path = (*place, key) if key in searched else place
            message = mistake.message if key in searched else f"{mistake.key} {mistake.message}"
            mistakes.add(Mistake(file.name, file.line_of(path), key, message))
    return _first_of_each_key(sorted(mistakes))


def _first_of_each_key(mistakes: Iterable[Mistake]) -> list[Mistake]:
    first: dict[str, Mistake] = {}
    for mistake in mistakes:
        first.setdefault(mistake.key, mistake)
    return list(first.values())


class RandomSuggester:
    """Draws at random, without Optuna: for checks before a study exists.

    Args:
        seed: of the draws.
        fixed: parameters that are not drawn.
    """

    def __init__(self, seed: int, fixed: Mapping[str, Any] | None = None) -> None:
        self._random = random.Random(seed)
        self._fixed: Params = dict(fixed or {})

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        """Any of ``choices``."""
        return self._fixed[name] if name in self._fixed else self._random.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """A whole number of the grid, bounds included."""
        if log:
            # as Optuna: half a step wider on both sides, or the bounds would be rare
            drawn = round(self._log_uniform(low - 0.5, high + 0.5))
        else:
            drawn = self._random.randrange(low, high + 1, step)
        return int(self._fixed.get(name, min(max(drawn, low), high)))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """A number between the bounds, on the grid of ``step``."""
        if log:
            drawn = self._log_uniform(low, high)
        elif step is None:
            drawn = self._random.uniform(low, high)
        else:
            drawn = low + step * self._random.randint(0, int((high - low) / step + 1e-9))
        return float(self._fixed.get(name, min(max(drawn, low), high)))

    def _log_uniform(self, low: float, high: float) -> float:
        return math.exp(self._random.uniform(math.log(low), math.log(high)))
