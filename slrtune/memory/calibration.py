"""What finished trials teach about a GPU type: measured peak over predicted peak.

One JSON file per type in ``<data.cache_dir>/calibration``, shared by all sweeps of the machine.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import re
import statistics
from pathlib import Path

from slrtune.config.json_file import write_json

_MAX_PAIRS = 200  # the newest; older ones may come from an older PyTorch
_MIN_PAIRS = 3
_MIN_GIB = 0.05  # below, the first blocks of an allocator are most of what is measured
_SCALES = (0.8, 1.5)
_logger = logging.getLogger(__name__)


class Calibration:
    """Pairs of predicted and measured peaks of one device type.

    Args:
        cache_dir: ``data.cache_dir``.
        device: name of the device type.
    """

    def __init__(self, cache_dir: Path, device: str) -> None:
        self._path = cache_dir / "calibration" / f"{re.sub(r'[^A-Za-z0-9]+', '-', device)}.json"

    def scale(self) -> float:
        """Factor for predictions: the median of measured over predicted; 1 for too few pairs.

        A median, as one trial that shared its GPU's allocator with something else must not teach
        much; within limits, as a wrong factor would let every later trial fail.
        """
        ratios = [measured / predicted for predicted, measured in self._pairs()]
        if len(ratios) < _MIN_PAIRS:
            return 1.0
        low, high = _SCALES
        return min(max(statistics.median(ratios), low), high)

    def add(self, predicted_gib: float, measured_gib: float) -> None:
        """Learn from a finished trial.

        Args:
            predicted_gib: allocated peak as predicted without calibration.
            measured_gib: allocated peak as measured.
        """
        if min(predicted_gib, measured_gib) < _MIN_GIB or not math.isfinite(measured_gib):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                pairs = [*self._pairs(), (predicted_gib, measured_gib)]
                write_json(self._path, {"pairs": pairs[-_MAX_PAIRS:]})
        except OSError as error:
            _logger.warning("cannot keep the memory calibration in %s: %s", self._path, error)

    def _pairs(self) -> list[tuple[float, float]]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            pairs = [(float(first), float(second)) for first, second in content["pairs"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, TypeError, KeyError) as error:
            _logger.warning("ignoring the damaged memory calibration %s: %s", self._path, error)
            return []
        return [pair for pair in pairs if all(map(math.isfinite, pair)) and min(pair) > 0]
