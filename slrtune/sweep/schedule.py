"""What a trial of a population was trained with, epoch by epoch, and whose weights it had.

The study keeps it of each trial in a user attribute; Optuna's own ``params`` can hold one value
only: those of now while a trial runs, and those of its best epoch when it has ended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from slrtune.config.search_space import Params

# User attribute of a trial: its turns, first to last.
SCHEDULE = "schedule"


@dataclass(frozen=True)
class Turn:
    """From when on a trial was trained with what.

    Attributes:
        after_epoch: finished epochs by then.
        params: from then on.
        weights_of: the trial whose weights after this epoch it took over; None = its own.
    """

    after_epoch: int
    params: Params
    weights_of: int | None = None


Schedule = tuple[Turn, ...]


def schedule_from(told: Sequence[Mapping[str, Any]]) -> Schedule:
    """As the study keeps it."""
    return tuple(Turn(**turn) for turn in told)


def schedule_to(schedule: Schedule) -> list[dict[str, Any]]:
    """For the study."""
    return [asdict(turn) for turn in schedule]


def turn_of(schedule: Schedule, epoch: int) -> Turn:
    """The turn in which an epoch was trained; of epoch 0 the first."""
    return next((turn for turn in reversed(schedule) if turn.after_epoch < epoch), schedule[0])


def first_best_epoch(best_so_far: Mapping[int, float]) -> int:
    """The epoch of the best value, from the best so far by epoch; 0 where there is none."""
    if not best_so_far:
        return 0
    best = best_so_far[max(best_so_far)]
    return min(epoch for epoch, value in best_so_far.items() if value == best)


@dataclass(frozen=True)
class Leg:
    """Epochs in a row, with the same parameters, of weights that went from trial to trial."""

    trial: int
    first_epoch: int
    last_epoch: int
    params: Params


def lineage(schedules: Mapping[int, Schedule], number: int, epoch: int) -> list[Leg]:
    """How the weights that trial ``number`` had after ``epoch`` came to be, from the start on."""
    legs: list[Leg] = []
    while epoch > 0:
        turn = turn_of(schedules[number], epoch)
        legs.append(Leg(number, turn.after_epoch + 1, epoch, turn.params))
        epoch = turn.after_epoch
        number = number if turn.weights_of is None else turn.weights_of
    return legs[::-1]
