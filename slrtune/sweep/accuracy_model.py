"""What the search has learned so far about accuracy: a Gaussian process over parameters and epochs.

Trials that ASHA stopped have no final accuracy, but they have one of an early epoch. With the epoch
as one more input, they tell about configurations all the same, as in MOBSTER (Klein et al. 2020,
"Model-based asynchronous hyperparameter and neural architecture search") and in Swersky et al.
2014. Matérn 5/2 with a length scale per feature, fitted by scikit-learn.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

from slrtune.config.search_space import SearchSpace
from slrtune.sweep.features import features_of

Array = NDArray[np.floating[Any]]

# The cost of a fit grows with the cube of this.
_MAX_OBSERVATIONS = 200


@dataclass(frozen=True)
class Observation:
    """Accuracy of a configuration after an epoch, or another objective so that more is better."""

    params: Mapping[str, Any]
    epoch: int
    accuracy: float


class AccuracyModel:
    """Gaussian process from configuration and epoch to accuracy.

    Args:
        space: whose parameters become features.
        observations: at least two, most important first: a fit takes the first 200.
        pending: configurations that run and have reported nothing: taken as if they turned out as
            expected, so that the next one is not their double (kriging believer, Ginsbourger 2010).
    """

    def __init__(
        self,
        space: SearchSpace,
        observations: Sequence[Observation],
        pending: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._space = space
        used = observations[:_MAX_OBSERVATIONS]
        points = np.array([self._point(seen.params, seen.epoch) for seen in used])
        targets = np.array([seen.accuracy for seen in used])
        self._mean, self._scale = float(targets.mean()), float(targets.std()) or 1.0
        targets = (targets - self._mean) / self._scale
        self._process = _fitted(points, targets)
        if pending:
            expected = np.array([self._point(params, space.max_epochs) for params in pending])
            believed = np.concatenate([targets, self._process.predict(expected)])
            fixed = GaussianProcessRegressor(self._process.kernel_, optimizer=None, alpha=1e-8)
            self._process = fixed.fit(np.concatenate([points, expected]), believed)

    def expected(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        """Accuracy expected at the end of training, per configuration."""
        mean: Array = self._process.predict(self._ends(configurations))
        return mean * self._scale + self._mean

    def expected_improvement(
        self, configurations: Sequence[Mapping[str, Any]], best: float
    ) -> Array:
        """How much more than ``best`` is expected at the end of training, per configuration."""
        mean, deviation = self._process.predict(self._ends(configurations), return_std=True)
        # What an epoch's noise adds is no improvement.
        noise = self._process.kernel_.k2.noise_level
        deviation = np.sqrt(np.maximum(deviation**2 - noise, 1e-9))
        gain = mean - (best - self._mean) / self._scale
        scaled = gain / deviation
        improvement: Array = gain * norm.cdf(scaled) + deviation * norm.pdf(scaled)
        return improvement * self._scale

    def _ends(self, configurations: Sequence[Mapping[str, Any]]) -> Array:
        return np.array([self._point(params, self._space.max_epochs) for params in configurations])

    def _point(self, params: Mapping[str, Any], epoch: int) -> list[float]:
        # Learning curves bend: the first epochs matter as much as all the later ones.
        progress = math.log(epoch) / math.log(max(self._space.max_epochs, 2))
        return [*features_of(self._space, params), progress]


def _fitted(points: Array, targets: Array) -> GaussianProcessRegressor:
    scales = np.ones(points.shape[1])
    smooth = ConstantKernel(1.0, (0.05, 20.0)) * Matern(scales, (0.1, 20.0), nu=2.5)
    kernel = smooth + WhiteKernel(1e-2, (1e-4, 0.3))
    process = GaussianProcessRegressor(kernel, alpha=1e-8, random_state=0)
    with warnings.catch_warnings():
        # A scale at its bound says that a parameter does not matter: no news.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return process.fit(points, targets)
