"""Device-hours: when no other trial is launched."""

from __future__ import annotations

import pytest

from slrtune.sweep.spending import Spending

_HOUR_S = 3600.0


def spending(max_hours: float | None, devices: float = 1.0, **trials_s: float) -> Spending:
    """Trials whose name starts with ``ended`` have ended."""
    spent = Spending(max_hours, devices)
    for name, seconds in trials_s.items():
        spent.note(name, seconds)
        if name.startswith("ended"):
            spent.end(name)
    return spent


def test_hours_count_every_device_of_a_trial() -> None:
    assert spending(None, 4.0, ended=_HOUR_S, running=0.5 * _HOUR_S).hours == pytest.approx(6.0)


def test_without_a_limit_there_is_always_another() -> None:
    assert spending(None, ended=1e9).allows_another()


def test_another_trial_is_expected_to_be_like_those_before() -> None:
    assert spending(4.0, ended_1=_HOUR_S, ended_2=2 * _HOUR_S).allows_another() is False
    assert spending(4.6, ended_1=_HOUR_S, ended_2=2 * _HOUR_S).allows_another()


def test_running_trials_are_expected_to_go_on() -> None:
    # 1 h used, 0.9 h to come of the running one, 1 h for another
    assert spending(2.5, ended=_HOUR_S, running=0.1 * _HOUR_S).allows_another() is False
    assert spending(3.1, ended=_HOUR_S, running=0.1 * _HOUR_S).allows_another()


def test_before_any_trial_has_ended_the_pace_of_running_ones_counts() -> None:
    for max_hours, is_allowed in ((3.0, False), (4.1, True)):
        spent = Spending(max_hours)
        spent.note("running", 0.5 * _HOUR_S, share_done=0.25)  # 2 h in all, and 2 h for another
        assert spent.allows_another() is is_allowed


def test_nothing_is_launched_once_all_is_used() -> None:
    assert spending(1.0, running=1.5 * _HOUR_S).allows_another() is False
