"""Several small trials on one large GPU: the share of a GPU that each worker asks for.

Worker groups are warm and serve many trials, so the share is one for the whole sweep: what the
largest configuration of the space takes that the budget allows. A sample of the space decides; a
configuration that is larger still is over the share's budget, and not launched.
"""

from __future__ import annotations

from dataclasses import replace

from slrtune.config.search_space import SearchSpace
from slrtune.memory.micro_batch import fraction_of_gpu
from slrtune.sweep.constraints import MemoryBudget
from slrtune.sweep.forecast import draw_params

_NUM_DRAWS = 64


def packed(space: SearchSpace, budget: MemoryBudget, gpu_gib: float) -> SearchSpace:
    """The space, whose workers ask for as small a share of a GPU as all that fits can live with.

    Args:
        budget: of a worker that has a GPU of its own.
        gpu_gib: memory of the smallest GPU.
    """
    predictions = [budget.predict(space, params) for params in draw_params(space, _NUM_DRAWS)]
    peaks_gib = [p.train_peak_gib for p in predictions if p is not None and budget.fits(p)]
    if not peaks_gib:
        return space
    share = fraction_of_gpu(max(peaks_gib), gpu_gib)
    resources = space.base.resources.model_copy(update={"gpus_per_worker": share})
    return replace(space, base=space.base.model_copy(update={"resources": resources}))
