"""Waits for several futures of one event loop."""

import asyncio
import gc
import logging
from collections.abc import Sequence

import pytest

from zekron_api.waiting import futures


def wait_for(parts_done: Sequence[bool]) -> bool:
    """Return whether the wait for these futures has ended, after those that are to be done are done."""

    async def scenario() -> bool:
        loop = asyncio.get_running_loop()
        parts: list[asyncio.Future[None]] = [loop.create_future() for _ in parts_done]
        together = futures.all_of(parts)
        for part, is_done in zip(parts, parts_done, strict=True):
            if is_done:
                part.set_result(None)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return together.done()

    return asyncio.run(scenario())


@pytest.mark.parametrize("parts_done", [[True], [True, True], [True, True, True]])
def test_the_wait_for_all_ends_with_the_last(parts_done: list[bool]) -> None:
    assert wait_for(parts_done)


@pytest.mark.parametrize("parts_done", [[False], [True, False], [False, True, True]])
def test_one_that_is_open_keeps_the_wait_for_all_open(parts_done: list[bool]) -> None:
    assert not wait_for(parts_done)


def test_a_wait_that_is_dropped_leaves_the_others_and_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> list[bool]:
        parts: list[asyncio.Future[None]] = [asyncio.get_running_loop().create_future() for _ in range(2)]
        together = futures.all_of(parts)
        together.cancel()
        parts[0].set_result(None)
        parts[1].cancel()
        del together
        await asyncio.sleep(0)
        gc.collect()
        return [part.cancelled() for part in parts]

    with caplog.at_level(logging.DEBUG, logger="asyncio"):
        assert asyncio.run(scenario()) == [False, True]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
