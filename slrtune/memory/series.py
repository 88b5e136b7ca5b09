"""Peaks of many batch sizes and depths from the timelines of a few.

At one moment of a step, what is alive grows by a constant per clip, and by a constant per block of
the transformer. So two timelines of different batch sizes give a line per moment, and the peak of
any batch is the highest of the lines at that batch: exactly, also where the peak moves from one
moment to another. With another depth beside it, the lines become planes.

More chunks of frames, or more blocks, are more operators. Then moments are matched: the operators
of the smaller timeline are found again in the larger one, which has more in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from slrtune.memory.timeline import Timeline

_WINDOWS = (200, 40, 8)  # operators that must agree to recognise a place, longest first


class NotAlikeError(ValueError):
    """Timelines whose operators do not match."""


@dataclass(frozen=True)
class StepBytes:
    """A step's worst moment, in bytes.

    Attributes:
        parameters: weights and buffers.
        persistent: alive between steps: weights, optimizer state, and what else stays.
        peak: alive at the worst moment, all in all.
        gradients: of ``peak``.
        workspace: of ``peak``, taken by the kernel of that moment within itself.
    """

    parameters: float
    persistent: float
    peak: float
    gradients: float
    workspace: float


@dataclass(frozen=True)
class Traced:
    """One traced step, with what is constant during it, in bytes (see :class:`StepBytes`)."""

    parameters: int
    persistent: int
    timeline: Timeline

    def worst(self) -> StepBytes:
        """Its worst moment."""
        line, at = self.timeline, self.timeline.peak
        return StepBytes(
            self.parameters,
            self.persistent,
            float(line.live[at]),
            float(line.gradients[at]),
            float(line.workspace[at]),
        )


class Series:
    """Worst moments by micro-batch, and by depth where two depths are given.

    Args:
        micro_batches: two of them, ascending.
        depths: one or two, ascending.
        traced: a step for each depth and, within it, each micro-batch.

    Raises:
        NotAlikeError: the steps differ by more than repetitions.
    """

    def __init__(
        self,
        micro_batches: tuple[int, int],
        depths: Sequence[int],
        traced: Sequence[Sequence[Traced]],
    ) -> None:
        self._micro_batches, self._depths = micro_batches, depths
        self._constants = np.array(
            [[steps[0].parameters, steps[0].persistent] for steps in traced], dtype=float
        )
        self._moments = _matched_moments([[s.timeline for s in steps] for steps in traced])

    def at(self, micro_batch: int, depth: int) -> StepBytes:
        """The worst moment of a step."""
        first, second = self._micro_batches
        by_batch = _line(self._moments, (micro_batch - first) / (second - first), axis=1)
        share = 0.0
        if len(self._depths) == 2:
            share = (depth - self._depths[0]) / (self._depths[1] - self._depths[0])
        live, gradients, workspace = _line(by_batch, share, axis=0)
        parameters, persistent = _line(self._constants, share, axis=0)
        worst = int(live.argmax())
        return StepBytes(
            float(parameters),
            float(persistent),
            float(live[worst]),
            float(max(gradients[worst], 0.0)),
            float(max(workspace[worst], 0.0)),
        )


def _line(values: np.ndarray, share: float, axis: int) -> np.ndarray:
    """Through two values (or one, for any share) along ``axis``, at a share of the way."""
    first = values.take(0, axis)
    if values.shape[axis] == 1:
        return first
    line: np.ndarray = first + share * (values.take(1, axis) - first)
    return line


def _matched_moments(timelines: Sequence[Sequence[Timeline]]) -> np.ndarray:
    """(depths, micro-batches, 3, moments): live, gradients and workspace at equal moments."""
    moments = []
    for from_end in (False, True):
        places = np.arange(len(timelines[0][0].operators))
        rows = []
        for depth, row in enumerate(timelines):
            if depth:
                above = timelines[depth - 1][0].operators
                places = _match(above, row[0].operators, from_end=from_end)[places]
            matched = [places]
            for former, latter in pairwise(row):
                step = _match(former.operators, latter.operators, from_end=from_end)
                matched.append(step[matched[-1]])
            rows.append([_channels(line, at) for line, at in zip(row, matched, strict=True)])
        moments.append(np.array(rows, dtype=float))
    return np.concatenate(moments, axis=-1)


def _channels(line: Timeline, places: np.ndarray) -> np.ndarray:
    return np.stack((line.live[places], line.gradients[places], line.workspace[places]))


def _match(small: np.ndarray, large: np.ndarray, *, from_end: bool) -> np.ndarray:
    """For each operator of ``small`` its place in ``large``, which has insertions.

    Repeated parts cannot be told apart: of blocks 1 2 3 and 1 2 3 4, the last two may match 2 3
    (from the start) or 3 4 (from the end). Both matter, as the extremes are at the ends.

    Raises:
        NotAlikeError: ``large`` differs by more than insertions.
    """
    if from_end:
        reverse = _match(small[::-1], large[::-1], from_end=False)
        return len(large) - 1 - reverse[::-1]
    places = np.empty(len(small), dtype=np.int64)
    done, shift = 0, 0
    while done < len(small):
        num_equal = _num_equal(small[done:], large[done + shift :])
        places[done : done + num_equal] = np.arange(done, done + num_equal) + shift
        done += num_equal
        if done < len(small):
            shift += _insertion(small[done:], large[done + shift :])
    return places


def _insertion(small: np.ndarray, large: np.ndarray) -> int:
    """How many operators ``large`` has before those that ``small`` begins with."""
    for width in _WINDOWS:
        window = small[:width]
        for start in np.flatnonzero(large[: len(large) - len(window) + 1] == window[0]):
            if np.array_equal(large[start : start + len(window)], window):
                return int(start)
    raise NotAlikeError("a part of the smaller step is not in the larger one")


def _num_equal(first: np.ndarray, second: np.ndarray) -> int:
    """Length of the common beginning."""
    length = min(len(first), len(second))
    different = np.flatnonzero(first[:length] != second[:length])
    return int(different[0]) if len(different) else length
