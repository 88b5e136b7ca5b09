"""The disk that a sweep will take, from a few configurations of its space."""

from __future__ import annotations

import contextlib

from slrtune.config.errors import ConfigError
from slrtune.config.search_space import SearchSpace
from slrtune.memory.checkpoint_size import checkpoint_size
from slrtune.sweep.disk_forecast import DiskForecast, forecast_disk
from slrtune.sweep.forecast import draw_params
from slrtune.training.construction import OutputSizes

_NUM_DRAWS = 8


def disk_forecast(
    space: SearchSpace, sizes: OutputSizes, num_concurrent: int
) -> DiskForecast | None:
    """What the sweep's checkpoints will take; None where no drawn model can be built.

    Args:
        space: the search space.
        sizes: what the data ask of the model.
        num_concurrent: trials at a time.
    """
    drawn = []
    for params in draw_params(space, _NUM_DRAWS):
        with contextlib.suppress(ConfigError):  # values that do not go together
            drawn.append(space.experiment(params))
    return forecast_disk(
        drawn,
        lambda experiment: checkpoint_size(experiment, sizes),
        space.base.sweep,
        num_concurrent,
    )
