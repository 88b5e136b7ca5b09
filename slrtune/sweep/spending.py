"""How much device time a sweep has used, and whether another trial fits into what is left."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

_S_PER_HOUR = 3600.0


@dataclass
class Spending:
    """Device-hours of a sweep: seconds that trials trained and validated, times their devices.

    Attributes:
        max_hours: None = no limit.
        devices_per_trial: GPUs of a trial; workers where there are no GPUs.
    """

    max_hours: float | None
    devices_per_trial: float = 1.0
    _trial_s: dict[int, float] = field(default_factory=dict)
    _whole_s: dict[int, float] = field(default_factory=dict)
    _ended: set[int] = field(default_factory=set)

    def note(self, number: int, trial_s: float, share_done: float = 0.0) -> None:
        """Trial ``number`` has used ``trial_s`` seconds for ``share_done`` of its epochs, 0..1."""
        self._trial_s[number] = trial_s
        self._whole_s[number] = trial_s / share_done if share_done else trial_s

    def end(self, number: int) -> None:
        """A trial will use no more."""
        self._ended.add(number)

    @property
    def hours(self) -> float:
        """Used so far."""
        return sum(self._trial_s.values()) * self.devices_per_trial / _S_PER_HOUR

    def allows_another(self) -> bool:
        """Whether a mean trial more keeps to the limit once all running ones have ended, too."""
        if self.max_hours is None:
            return True
        ended = [self._trial_s.get(number, 0.0) for number in self._ended]
        # Until a trial has ended, running ones say how long one takes that nobody stops.
        samples = ended or list(self._whole_s.values())
        mean_s = statistics.fmean(samples) if samples else 0.0
        running = [s for number, s in self._trial_s.items() if number not in self._ended]
        still_s = sum(max(mean_s - seconds, 0.0) for seconds in running) + mean_s
        expected_hours = self.hours + still_s * self.devices_per_trial / _S_PER_HOUR
        return expected_hours <= self.max_hours and self.hours < self.max_hours
