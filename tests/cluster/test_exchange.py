"""The exchange between trials and worker groups, without Ray."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from slrtune.cluster import exchange as module
from slrtune.cluster.exchange import Exchange
from slrtune.cluster.losses import Loss
from slrtune.cluster.task import Task


def task(name: str = "a", max_failures: int = 2) -> Task:
    return Task(name, {}, f"/runs/{name}", max_failures)


def epoch(number: int) -> dict[str, float]:
    return {"epoch": float(number), "val_top1": 0.5}


async def next_kind(exchange: Exchange, name: str = "a") -> str:
    return (await exchange.next_event(name, 5.0)).kind


def test_a_trial_follows_its_epochs_to_the_end() -> None:
    async def scenario() -> list[str]:
        exchange = Exchange(num_groups=2)
        await exchange.join(0, "life", 0, 1)
        await exchange.submit(task())

        async def group() -> None:
            taken = await exchange.take(0, "life", 0, None)
            assert taken == task()
            for number in (1, 2):
                assert await exchange.report(0, "life", epoch(number))
            await exchange.finish(0, "life", {"last_epoch": 2})

        worker = asyncio.create_task(group())
        kinds = [await next_kind(exchange) for _ in range(4)]
        await worker
        return kinds

    assert asyncio.run(scenario()) == ["started", "epoch", "epoch", "finished"]


def test_a_group_waits_for_the_decision_and_stops_when_told() -> None:
    async def scenario() -> bool:
        exchange = Exchange(num_groups=2)
        await exchange.join(0, "life", 0, 1)
        await exchange.submit(task())
        await exchange.take(0, "life", 0, None)
        report = asyncio.create_task(exchange.report(0, "life", epoch(1)))
        assert [await next_kind(exchange) for _ in range(2)] == ["started", "epoch"]
        await asyncio.sleep(0.05)
        assert not report.done()
        await exchange.stop("a")
        return await report

    assert asyncio.run(scenario()) is False


def test_a_restarted_group_s_task_goes_on_and_its_repeated_epoch_is_not_passed_on() -> None:
    async def scenario() -> list[Any]:
        exchange = Exchange(num_groups=2)
        await exchange.join(0, "first", 0, 1)
        await exchange.submit(task())
        await exchange.take(0, "first", 0, None)
        lost = asyncio.create_task(exchange.report(0, "first", epoch(1)))
        seen = [await exchange.next_event("a", 5.0) for _ in range(2)]
        lost.cancel()
        await exchange.join(0, "second", 0, 2)

        async def group() -> None:
            assert await exchange.take(0, "second", 0, None) == task()
            assert await exchange.report(0, "second", epoch(1))
            assert await exchange.report(0, "second", epoch(2))
            await exchange.finish(0, "second", {})

        worker = asyncio.create_task(group())
        seen += [await exchange.next_event("a", 5.0) for _ in range(3)]
        await worker
        return [(event.kind, event.payload.get("epoch")) for event in seen]

    assert asyncio.run(scenario()) == [
        ("started", None),
        ("epoch", 1.0),
        ("started", None),
        ("epoch", 2.0),
        ("finished", None),
    ]


def test_a_task_whose_group_dies_too_often_fails() -> None:
    async def scenario() -> dict[str, Any]:
        exchange = Exchange(num_groups=2)
        await exchange.submit(task(max_failures=1))
        for life in ("first", "second"):
            await exchange.join(0, life, 0, 1)
            await exchange.take(0, life, 0, None)
            await next_kind(exchange)
        await exchange.join(0, "third", 0, 1)
        return (await exchange.next_event("a", 5.0)).payload

    told = asyncio.run(scenario())["message"]
    assert told == "its worker died 2 times; the last time: its worker died"


def test_all_ranks_of_a_group_get_the_same_tasks_in_order() -> None:
    async def scenario() -> list[str]:
        exchange = Exchange(num_groups=2)
        for rank in (0, 1):
            await exchange.join(0, "life", rank, rank)
        for name in ("a", "b"):
            await exchange.submit(task(name))
        follower: list[str] = []
        previous: str | None = None
        for name in ("a", "b"):
            waiting = asyncio.create_task(exchange.take(0, "life", 1, previous))
            await asyncio.sleep(0.01)
            assert not waiting.done()
            leader = await exchange.take(0, "life", 0, previous)
            taken = await waiting
            assert leader == taken == task(name)
            previous = name
            follower.append(name)
            await exchange.finish(0, "life", {})
        return follower

    assert asyncio.run(scenario()) == ["a", "b"]


def test_a_lost_group_s_task_goes_to_another_and_the_last_loss_fails_all() -> None:
    async def scenario() -> list[str]:
        exchange = Exchange(num_groups=2)
        for group in (0, 1):
            await exchange.join(group, "life", 0, group)
        await exchange.submit(task())
        await exchange.take(0, "life", 0, None)
        await exchange.lose(0, "node gone")
        assert await exchange.take(1, "life", 0, None) == task()
        await exchange.lose(1, "node gone")
        return [await next_kind(exchange) for _ in range(3)]

    assert asyncio.run(scenario()) == ["started", "started", "failed"]


def test_closing_stops_reports_and_sends_idle_groups_home() -> None:
    async def scenario() -> tuple[bool, Task | None]:
        exchange = Exchange(num_groups=2)
        for group in (0, 1):
            await exchange.join(group, "life", 0, group)
        await exchange.submit(task())
        await exchange.take(0, "life", 0, None)
        report = asyncio.create_task(exchange.report(0, "life", epoch(1)))
        idle = asyncio.create_task(exchange.take(1, "life", 0, None))
        await asyncio.sleep(0.01)
        await exchange.close()
        return await report, await idle

    assert asyncio.run(scenario()) == (False, None)


def test_a_trial_that_no_longer_asks_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENT_TRIAL_S", -1.0)
    monkeypatch.setattr(module, "_CHECK_S", 0.01)

    async def scenario() -> bool:
        exchange = Exchange(num_groups=2)
        await exchange.join(0, "life", 0, 1)
        await exchange.submit(task())
        await exchange.take(0, "life", 0, None)
        goes_on = await exchange.report(0, "life", epoch(1))
        assert [await next_kind(exchange) for _ in range(3)] == ["started", "epoch", "failed"]
        return goes_on

    assert asyncio.run(scenario()) is False


def test_what_a_dead_worker_asked_for_does_not_draw_the_next_task() -> None:
    async def scenario() -> tuple[Task | None, Task | None, bool]:
        exchange = Exchange(num_groups=1)
        await exchange.join(0, "first", 0, 1)
        ghost = asyncio.create_task(exchange.take(0, "first", 0, None))
        await asyncio.sleep(0.01)
        await exchange.join(0, "second", 0, 2)
        living = asyncio.create_task(exchange.take(0, "second", 0, None))
        await exchange.submit(task())
        drawn = await living
        return await ghost, drawn, await exchange.report(0, "first", epoch(1))

    assert asyncio.run(scenario()) == (None, task(), False)


def test_a_task_that_comes_after_the_last_group_was_lost_fails_at_once() -> None:
    async def scenario() -> dict[str, Any]:
        exchange = Exchange(num_groups=1)
        await exchange.lose(0, "no GPU")
        await exchange.submit(task())
        return (await exchange.next_event("a", 5.0)).payload

    assert asyncio.run(scenario())["message"] == "no worker group is left: no GPU"


def test_a_task_stopped_before_its_turn_is_never_drawn() -> None:
    async def scenario() -> Task | None:
        exchange = Exchange(num_groups=1)
        for name in ("a", "b"):
            await exchange.submit(task(name))
        await exchange.stop("a")
        await exchange.join(0, "life", 0, 1)
        return await exchange.take(0, "life", 0, None)

    assert asyncio.run(scenario()) == task("b")


def test_a_lost_group_s_task_goes_on_elsewhere_and_a_lost_node_is_not_its_failure() -> None:
    lost_node = Loss("its node was lost", is_of_node=True)

    async def scenario() -> list[Any]:
        exchange = Exchange(num_groups=2)
        await exchange.join(0, "life", 0, 1)
        await exchange.join(1, "life", 0, 2)
        await exchange.submit(task(max_failures=0))
        await exchange.take(0, "life", 0, None)
        report = asyncio.create_task(exchange.report(0, "life", epoch(1)))
        assert [await next_kind(exchange) for _ in range(2)] == ["started", "epoch"]
        await exchange.leave(0, lost_node)
        assert not await report  # a rank that still lives stops
        assert await exchange.take(1, "life", 0, None) == task(max_failures=0)
        started = await exchange.next_event("a", 5.0)
        await exchange.leave(1, lost_node)  # before it got an epoch further: this may be its fault
        failed = await exchange.next_event("a", 5.0)
        return [started.payload, failed.kind, failed.payload["message"]]

    assert asyncio.run(scenario()) == [
        {"num_restarts": 1, "restart_reason": "its node was lost"},
        "failed",
        "its worker died 1 times; the last time: its node was lost",
    ]
