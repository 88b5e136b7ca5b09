"""One parameter of a search space file: the forms of a range, and what may be wrong with one.

A bound of a range may be another key: `{low: 1.0e-5, high: training.learning_rate, log: true}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from slrtune.config.search_space import Parameter
from slrtune.config.validate import suggestion

_FIELDS = ("choices", "low", "high", "step", "log", "when")
# What a trial is judged by must be the same for all, and what it cannot change has no effect.
_SEARCHABLE = (
    "model", "training",
    "data.num_frames", "data.image_size", "data.train_sampling", "data.sampling",
    "data.augmentation",
)  # fmt: skip


def spec_mistakes(key: str, spec: Any, known: set[str]) -> Iterator[str]:
    """What is wrong with the range of ``key``, one rule at a time."""
    if key not in known:
        yield "is not a known experiment key" + suggestion(key)
        return
    if not f"{key}.".startswith(tuple(f"{name}." for name in _SEARCHABLE)):
        yield (
            "cannot be searched: trials would not be comparable, or it has no effect on a trial; "
            f"set it in the experiment (what can: {', '.join(_SEARCHABLE)})"
        )
        return
    if not isinstance(spec, dict):
        yield f"must be a range such as {{low: 1, high: 4}} or {{choices: [1, 2]}}, but is {spec!r}"
        return
    for name in spec:
        if name not in _FIELDS:
            yield f"has an unknown field {name!r}; known are {', '.join(_FIELDS)}"
    if "when" in spec:
        yield from _when_mistakes(spec["when"], known)
    if "choices" in spec:
        choices = spec["choices"]
        if not isinstance(choices, list) or not choices:
            yield f"must have a list of choices, but has {choices!r}"
        elif len({repr(choice) for choice in choices}) < len(choices):
            yield f"lists a choice twice: {choices!r}; keep one"
        extra = sorted(set(spec) & {"low", "high", "step", "log"})
        if extra:
            yield f"has choices and {', '.join(extra)}; keep one of the two kinds"
        return
    yield from _bound_mistakes(key, spec, known)
    yield from _range_mistakes(spec)


def _bound_mistakes(key: str, spec: dict[str, Any], known: set[str]) -> Iterator[str]:
    for name, bound in _bound_keys(spec).items():
        if bound == key:
            yield f"cannot be its own bound; write a number for {name}"
        elif bound not in known:
            yield (
                f"must have a number or an experiment key as {name}, but has {bound!r}"
                f"{suggestion(bound)}"
            )


def _bound_keys(spec: dict[str, Any]) -> dict[str, str]:
    return {n: spec[n] for n in ("low", "high") if isinstance(spec.get(n), str) and "." in spec[n]}


def _range_mistakes(spec: dict[str, Any]) -> Iterator[str]:
    named = _bound_keys(spec)
    numbers = {name: spec.get(name) for name in ("low", "high") if name not in named}
    if "step" in spec:
        numbers["step"] = spec["step"]
    wrong = [n for n, v in numbers.items() if isinstance(v, bool) or not isinstance(v, int | float)]
    if wrong:
        given = ", ".join(f"{name}: {spec.get(name)!r}" for name in wrong)
        yield f"must have the numbers low and high (or choices), but has {given}; write 1.0e-4"
        return
    low, high = numbers.get("low"), numbers.get("high")
    if low is not None and high is not None and low >= high:
        yield f"must have low < high, but {low:g} >= {high:g}"
    if not isinstance(spec.get("log", False), bool):
        yield f"must have log: true or false, but has {spec['log']!r}"
    elif spec.get("log") and low is not None and low <= 0:
        yield f"must have low > 0 for log: true, but {low:g}"
    if "step" in spec:
        if spec.get("log"):
            yield "cannot have both step and log: true; remove one"
        if spec["step"] <= 0:
            yield f"must have step > 0, but {spec['step']:g}"
        elif isinstance(low, int) and isinstance(high, int) and not isinstance(spec["step"], int):
            yield (
                f"must have a whole step between whole bounds, but {spec['step']:g}; "
                f"write low: {low}.0 for a range of fractions"
            )


def _when_mistakes(when: Any, known: set[str]) -> Iterator[str]:
    if not isinstance(when, dict) or not when:
        yield f"must have when: {{key: value}}, but has {when!r}"
        return
    for key in when:
        if key not in known:
            yield f"has a condition on {key}, which is not a known experiment key{suggestion(key)}"


def parameter_from(key: str, spec: dict[str, Any]) -> Parameter:
    """A parameter from a range without mistakes."""
    when = tuple(
        (name, tuple(value) if isinstance(value, list) else (value,))
        for name, value in spec.get("when", {}).items()
    )
    if "choices" in spec:
        return Parameter(key, choices=tuple(spec["choices"]), when=when)
    named = _bound_keys(spec)
    low, high = (None if name in named else spec[name] for name in ("low", "high"))
    return Parameter(
        key,
        low=low,
        high=high,
        step=spec.get("step"),
        log=bool(spec.get("log", False)),
        when=when,
        low_key=named.get("low"),
        high_key=named.get("high"),
    )
