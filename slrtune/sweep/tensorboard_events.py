"""What TensorBoard reads: events of hyperparameters, outcomes, text and pictures."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
from tensorboard.plugins.text import metadata as text_metadata
from tensorboard.util import tensor_util

from slrtune.config.search_space import Parameter, Params, SearchSpace, value_at
from slrtune.sweep.outcomes import Outcome

# A column of its own in the HParams table: TensorBoard's status knows but success and failure.
OUTCOME = "outcome"
_SHOWN = 5
_FILL_UP = (
    "model.name", "training.learning_rate", "training.batch_size", "training.max_epochs",
)  # fmt: skip
_STATUS = {
    "completed": api_pb2.STATUS_SUCCESS,
    "pruned": api_pb2.STATUS_SUCCESS,
    "oom": api_pb2.STATUS_FAILURE,
    "error": api_pb2.STATUS_FAILURE,
    "infeasible": api_pb2.STATUS_FAILURE,
}


def columns(space: SearchSpace, metrics: Mapping[str, str]) -> Summary:
    """The HParams table: a column for each parameter, with its domain, and for each metric.

    TensorBoard sorts columns by name, shows the first five, and leaves a trial that lacks one of
    these out of the parallel coordinates: what every trial has comes first, and where fewer than
    five are searched, some that are not fill up.

    Args:
        space: the searched parameters.
        metrics: scalar tag -> name of the column.
    """
    outcomes = summary_v2.Discrete(["running", *get_args(Outcome)])
    domains = {p.key: _domain(p) for p in space.parameters}
    domains |= {key: summary_v2.Discrete([value]) for key, value in _fixed(space).items()}
    hparams = [
        summary_v2.HParam(name, domains.get(key, outcomes), display_name=key)
        for key, name in _names(space).items()
    ]
    named = [summary_v2.Metric(tag, display_name=name) for tag, name in metrics.items()]
    return summary_v2.hparams_config_pb(hparams=hparams, metrics=named)


def session_start(run: str, space: SearchSpace, params: Params, outcome: str) -> Summary:
    """A trial's row of the table."""
    mixed = {parameter.key for parameter in space.parameters if _is_mixed(parameter)}
    values = _fixed(space) | {
        key: str(value) if key in mixed else _plain(value) for key, value in params.items()
    }
    names = _names(space)
    shown = {names[key]: value for key, value in {OUTCOME: outcome, **values}.items()}
    return summary_v2.hparams_pb(shown, trial_id=run)


def session_end(outcome: str) -> Summary:
    """How it ended, in TensorBoard's own terms."""
    status = _STATUS.get(outcome, api_pb2.STATUS_UNKNOWN)
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(data),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def text(tag: str, content: str) -> Summary:
    """Markdown in the Text tab."""
    value = Summary.Value(
        tag=tag,
        metadata=text_metadata.create_summary_metadata(display_name=tag, description=""),
        tensor=tensor_util.make_tensor_proto([content.encode()]),
    )
    return Summary(value=[value])


def picture(tag: str, png: bytes) -> Summary:
    """An image."""
    from PIL import Image

    width, height = Image.open(BytesIO(png)).size
    image = Summary.Image(encoded_image_string=png, width=width, height=height, colorspace=3)
    return Summary(value=[Summary.Value(tag=tag, image=image)])


def last_step(run: Path) -> int:
    """The last step of which a run has scalars; 0 = of none."""
    events = (event for file in run.glob("*tfevents*") for event in _events(file))
    steps = (
        event.step
        for event in events
        if any(value.WhichOneof("value") == "simple_value" for value in event.summary.value)
    )
    return max(steps, default=0)


def _events(file: Path) -> Iterator[Event]:
    try:
        # It stops by itself at a record that was cut off.
        yield from LegacyEventFileLoader(str(file)).Load()
    except Exception:  # a damaged run is no reason to disturb a sweep
        return


def _names(space: SearchSpace) -> dict[str, str]:
    """Key -> name of its column, which puts it in its place."""
    always = [parameter.key for parameter in space.parameters if not parameter.when]
    sometimes = [parameter.key for parameter in space.parameters if parameter.when]
    keys = [OUTCOME, *always, *_fixed(space), *sometimes]
    return {key: f"{place:02d} {key}" for place, key in enumerate(keys)}


def _fixed(space: SearchSpace) -> dict[str, bool | float | int | str]:
    """What fills up the columns that TensorBoard shows: settings that no trial changes."""
    searched = {parameter.key for parameter in space.parameters}
    num_always = 1 + sum(not parameter.when for parameter in space.parameters)
    keys = [key for key in _FILL_UP if key not in searched]
    return {key: _plain(value_at(space.base, key)) for key in keys[: max(0, _SHOWN - num_always)]}


def _domain(parameter: Parameter) -> summary_v2.Domain:
    if parameter.choices is None:
        low, high = parameter.extremes()
        kind = summary_v2.IntInterval if parameter.is_int else summary_v2.RealInterval
        return kind(low, high) if parameter.is_int else kind(float(low), float(high))
    if _is_mixed(parameter):
        return summary_v2.Discrete([str(choice) for choice in parameter.choices])
    choices = [_plain(choice) for choice in parameter.choices]
    if any(isinstance(choice, float) for choice in choices):
        choices = [float(choice) for choice in choices]
    return summary_v2.Discrete(choices)


def _is_mixed(parameter: Parameter) -> bool:
    """Such as `auto` beside numbers: a column has one type, then text."""
    kinds = {type(_plain(choice)) for choice in parameter.choices or ()}
    return len(kinds) > 1 and kinds != {int, float}


def _plain(value: Any) -> bool | float | int | str:
    # HParams knows numbers, truth values and text; null and lists would vanish.
    return value if isinstance(value, bool | int | float | str) else str(value)
