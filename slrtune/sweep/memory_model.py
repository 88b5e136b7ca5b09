"""What the search has learned so far about which configurations need how much memory.

A Gaussian process over the searched parameters (Rasmussen & Williams 2006, algorithm 2.1) on the
logarithm of the needed memory: linear, because memory is close to a product of sizes, plus smooth
deviations. Its few points cost nothing next to a prediction, let alone a trial.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slrtune.config.search_space import SearchSpace
from slrtune.sweep.features import features_of

Array = NDArray[np.floating[Any]]

_LINEAR_VARIANCES = (0.1, 1.0)
_NOISE_VARIANCES = (1e-3, 1e-2, 1e-1)
_LENGTH_SCALES = (0.5, 1.0, 2.0)
_SMOOTH_VARIANCE = 0.3


class MemoryModel:
    """Gaussian process from a configuration to the logarithm of its memory.

    Args:
        space: whose parameters become features in [0, 1].
        configurations: at least one.
        needed_gib: what each needs.
    """

    def __init__(
        self,
        space: SearchSpace,
        configurations: Sequence[Mapping[str, Any]],
        needed_gib: Sequence[float],
    ) -> None:
        self._space = space
        self._points = np.array([features_of(self._space, params) for params in configurations])
        targets = np.log(np.maximum(np.array(needed_gib), 1e-9))
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        targets = (targets - self._mean) / self._scale
        grid = itertools.product(_LINEAR_VARIANCES, _LENGTH_SCALES, _NOISE_VARIANCES)
        fits = [(self._fit(targets, *setting), setting) for setting in grid]
        (_, self._cholesky, self._weights), self._setting = max(fits, key=lambda fit: fit[0][0])

    def probability_within(self, budget_gib: float, params: Mapping[str, Any]) -> float:
        """How likely a configuration keeps to the budget."""
        linear, length, noise = self._setting
        point = np.array([features_of(self._space, params)])
        kernel = _kernel(point, self._points, linear, length)
        mean = float((kernel @ self._weights).item())
        explained = np.linalg.solve(self._cholesky, kernel.T)
        variance = _kernel(point, point, linear, length) - explained.T @ explained + noise
        deviation = math.sqrt(max(float(variance.item()), 1e-12)) * self._scale
        room = math.log(budget_gib) - (mean * self._scale + self._mean)
        return 0.5 * (1.0 + math.erf(room / deviation / math.sqrt(2.0)))

    def _fit(
        self, targets: Array, linear: float, length: float, noise: float
    ) -> tuple[float, Array, Array]:
        """Log marginal likelihood (up to a constant), Cholesky factor and weights."""
        kernel = _kernel(self._points, self._points, linear, length)
        cholesky: Array = np.linalg.cholesky(kernel + noise * np.eye(len(targets)))
        weights: Array = np.linalg.solve(cholesky.T, np.linalg.solve(cholesky, targets))
        likelihood = -0.5 * float(targets @ weights) - float(np.log(np.diag(cholesky)).sum())
        return likelihood, cholesky, weights


def _kernel(a: Array, b: Array, linear: float, length: float) -> Array:
    distances = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    smooth: Array = _SMOOTH_VARIANCE * np.exp(-distances / (2 * length**2))
    return linear * (1.0 + a @ b.T) + smooth
