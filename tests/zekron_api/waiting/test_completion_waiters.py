"""The clients that wait in one process: each is woken once, and none is remembered after it left."""

import asyncio
from collections.abc import Awaitable, Callable, Collection

import pytest

from tests.zekron_api.waiting.exchange import until
from zekron_api.waiting import completion_waiters
from zekron_api.waiting.completion_waiters import CompletionWaiters

Scenario = Callable[[CompletionWaiters, list[set[int]]], Awaitable[None]]


def poll_during(scenario: Scenario) -> None:
    """Run the scenario beside the poll, with a list of the ids that each poll asked for. No generation ends."""

    async def run() -> None:
        asked: list[set[int]] = []

        async def ended_among(generation_ids: Collection[int]) -> set[int]:
            asked.append(set(generation_ids))
            return set()

        waiters = CompletionWaiters(ended_among=ended_among)
        poll = asyncio.create_task(waiters.poll())
        await scenario(waiters, asked)
        poll.cancel()

    asyncio.run(run())


def test_a_generation_whose_clients_have_left_is_not_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.001)

    async def scenario(waiters: CompletionWaiters, asked: list[set[int]]) -> None:
        left, stays, late = waiters.add(7), waiters.add(7), waiters.add(8)
        waiters.remove(7, left)
        waiters.remove(8, late)
        waiters.remove(8, late)
        await until(lambda: asked != [])
        assert asked[0] == {7}
        waiters.remove(7, stays)
        other = waiters.add(9)
        asked.clear()
        await until(lambda: asked != [])
        assert asked[0] == {9}
        waiters.remove(9, other)
        assert len(waiters) == 0

    poll_during(scenario)


def test_an_end_wakes_all_who_wait_for_it_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(waiters: CompletionWaiters, _asked: list[set[int]]) -> None:
        twins, other = [waiters.add(7), waiters.add(7)], waiters.add(8)
        waiters.notify(7)
        waiters.notify(7)
        assert [future.done() for future in [*twins, other]] == [True, True, False]

    poll_during(scenario)


def test_the_oldest_of_the_recent_ends_is_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_waiters, "MAX_RECENT_COUNT", 2)

    async def scenario(waiters: CompletionWaiters, _asked: list[set[int]]) -> None:
        for generation_id in (1, 2, 3):
            waiters.notify(generation_id)
        assert [waiters.add(generation_id).done() for generation_id in (1, 2, 3)] == [False, True, True]

    poll_during(scenario)
