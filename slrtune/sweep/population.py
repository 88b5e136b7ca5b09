"""A population of trials that train together: who runs, who waits, who takes over whose weights.

Trials meet: each trains up to the same epoch and waits there for the others. So a trial is only
ever compared with others of its age, what is decided depends on values and seed alone and not on
who was quicker, and a sweep that was killed comes to the same decision again. Where the cluster has
fewer places than there are trials they take turns between two meetings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from slrtune.config.objective import Objective

Score = tuple[float, float]
"""More is better: the objective's value of the last epoch, then its validation loss."""


def score_of(metrics: Mapping[str, Any], objective: Objective) -> Score:
    """Of an epoch's metrics.

    Of the epoch, not of the best so far: it is the last weights that another trial would take over.
    """
    loss = metrics.get("val_loss", math.inf)
    return objective.score(metrics[objective.metric]), -loss if math.isfinite(loss) else -math.inf


@dataclass(frozen=True)
class Exploit:
    """One trial takes over the weights of another."""

    loser: int
    winner: int


def exploits(scores: Mapping[int, Score], quantile: float, seed: str) -> list[Exploit]:
    """Which trials of the worst share take over from which of the best.

    None takes over from one that is not better than itself.

    Args:
        scores: by trial.
        quantile: the share, rounded up, but never more than half.
        seed: of who gets whose.
    """
    ranked = sorted(scores, key=lambda number: (scores[number], -number), reverse=True)
    num_each = min(math.ceil(len(ranked) * quantile), len(ranked) // 2)
    best, worst = ranked[:num_each], ranked[len(ranked) - num_each :]
    pairs = []
    for loser in sorted(worst):
        winner = random.Random(f"{seed} {loser}").choice(best)
        if scores[winner] > scores[loser]:
            pairs.append(Exploit(loser, winner))
    return pairs


@dataclass
class _Member:
    state: Literal["running", "arrived", "ready", "ended"] = "running"
    score: Score | None = None


class Population:
    """The trials that train together.

    Args:
        size: trials that will join.
        num_places: trials that may run at a time.
        meetings: epochs after which they wait for each other, first to last.
        num_held: meetings that an earlier start of the sweep has held.

    Attributes:
        num_held: meetings that were held.
        is_whole: nobody else will join.
    """

    def __init__(
        self, size: int, num_places: int, meetings: Sequence[int], num_held: int = 0
    ) -> None:
        self._size, self._num_places, self._meetings = size, num_places, meetings
        self._members: dict[int, _Member] = {}
        self.num_held = num_held
        self.is_whole = False

    @property
    def until_epoch(self) -> int | None:
        """Where trials wait next; None = they train to their end."""
        return self._meetings[self.num_held] if self.num_held < len(self._meetings) else None

    @property
    def has_place(self) -> bool:
        """Whether another trial may run now."""
        return self._count("running") < self._num_places

    def join(self, number: int) -> None:
        """A trial is given out, new or from its last checkpoint on."""
        self._members[number] = _Member()
        self.is_whole = self.is_whole or len(self._members) >= self._size

    def arrive(self, number: int, score: Score) -> None:
        """A trial has trained as far as the next meeting, and gives its place to another."""
        self._members[number] = _Member("arrived", score)

    def end(self, number: int) -> None:
        """A trial will not be seen again."""
        if number in self._members:
            self._members[number].state = "ended"

    @property
    def has_met(self) -> bool:
        """Whether all that have not ended have arrived."""
        is_quiet = not self._count("running") and not self._count("ready")
        return self.is_whole and is_quiet and self._count("arrived") > 0

    @property
    def scores(self) -> dict[int, Score]:
        """Of those that have arrived."""
        return {
            number: member.score
            for number, member in self._members.items()
            if member.state == "arrived" and member.score is not None
        }

    def go_on(self, *, was_held: bool = True) -> None:
        """All that have arrived may run again.

        Args:
            was_held: what the meeting decided is done; else they wait at the same epoch again.
        """
        self.num_held += was_held
        for member in self._members.values():
            if member.state == "arrived":
                member.state = "ready"

    @property
    def ready(self) -> list[int]:
        """Those that wait for a place only, by number."""
        return sorted(n for n, member in self._members.items() if member.state == "ready")

    def run(self, number: int) -> None:
        """One of these has got its place."""
        self._members[number].state = "running"

    def _count(self, state: str) -> int:
        return sum(member.state == state for member in self._members.values())
