from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from slrtune.data.workers import WorkerCrash, map_crash_proof, sign_of_life

FOR_EVER_S = 10_000


def die_on_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGSEGV)
    return number * 10


def test_an_item_that_kills_its_process_costs_that_item_alone() -> None:
    results = list(map_crash_proof(die_on_three, range(8), num_workers=2))
    assert results == [0, 10, 20, WorkerCrash("decoder crashed"), 40, 50, 60, 70]


def hang_on_two_and_five(job: tuple[int, Path]) -> int:
    number, log = job
    with log.open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    if number in (2, 5):
        time.sleep(FOR_EVER_S)
    return number * 10


def test_an_item_that_hangs_is_killed_after_its_limit_and_harms_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    jobs = [(number, log) for number in range(8)]
    results = list(map_crash_proof(hang_on_two_and_five, jobs, num_workers=2, max_item_s=1))
    hung = WorkerCrash("decoder took longer than 1 s")
    assert results == [0, 10, hung, 30, 40, hung, 60, 70]
    began = [line.split() for line in log.read_text().splitlines()]
    assert sorted(number for number, _ in began) == list("01234567")  # each once
    for _, process in began:
        with pytest.raises(ProcessLookupError):
            os.kill(int(process), 0)


def work_in_parts(seconds: float) -> float:
    for _ in range(3):
        sign_of_life()
        time.sleep(seconds)
    return seconds


def test_the_limit_begins_anew_with_each_sign_of_life() -> None:
    results = list(map_crash_proof(work_in_parts, [0.5, FOR_EVER_S], num_workers=2, max_item_s=1))
    assert results == [0.5, WorkerCrash("decoder took longer than 1 s")]


def die_once(mark: Path) -> str:
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return mark.name


def test_an_item_that_dies_is_tried_again_alone(tmp_path: Path) -> None:
    marks = [tmp_path / name for name in "abcd"]
    assert list(map_crash_proof(die_once, marks, num_workers=2)) == list("abcd")


def refuse_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    if number == 5:
        raise type("OnlyHereError", (Exception,), {})("five")
    return number


def test_an_exception_is_raised_in_its_turn_and_says_where_it_was() -> None:
    results = map_crash_proof(refuse_three, range(8), num_workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three") as raised:
        next(results)
    assert "in refuse_three" in raised.value.__notes__[0]
    with pytest.raises(RuntimeError, match="OnlyHereError: five"):  # it cannot be pickled
        list(map_crash_proof(refuse_three, [5], num_workers=1))


def test_not_more_is_begun_than_two_items_per_worker() -> None:
    asked: list[int] = []
    items = (asked.append(number) or number for number in range(100))  # type: ignore[func-returns-value]
    results = map_crash_proof(abs, items, num_workers=2)
    assert next(results) == 0
    time.sleep(0.2)
    assert len(asked) <= 5
    results.close()  # type: ignore[attr-defined]
