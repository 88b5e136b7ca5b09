"""Random numbers that depend on named whole numbers and on nothing that happened before."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Keeps streams apart that are drawn from the same seed."""

    ORDER = 0
    SAMPLE = 1
    HOLD_OUT = 2
    MIX = 3


def random_stream(purpose: Purpose, *numbers: int) -> np.random.Generator:
    """The same generator for the same ``numbers`` (>= 0), on any machine."""
    return np.random.Generator(np.random.PCG64([purpose, *numbers]))
