"""Waits for several futures of one event loop."""

import asyncio
import time
from collections.abc import Iterable, Sequence
from typing import Any


async def first_of(*futures: "asyncio.Future[Any]", until: float) -> "set[asyncio.Future[Any]]":
    """Wait until one of the futures is done or the time on the monotonic clock has come. Return those that are done."""
    timeout = max(0.0, until - time.monotonic())
    done, _ = await asyncio.wait(futures, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    return done


def all_of(parts: "Sequence[asyncio.Future[None]]") -> "asyncio.Future[None]":
    """Return a future that is done once all of these are. It may be dropped before, and cancels none of them."""
    if len(parts) == 1:
        return parts[0]
    together = asyncio.get_running_loop().create_future()
    left = set(parts)

    def note(part: "asyncio.Future[None]") -> None:
        left.discard(part)
        if not left and not together.done():
            together.set_result(None)

    for part in parts:
        part.add_done_callback(note)
    return together


async def cancel_all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel the tasks until they end. Redis's client loses a cancellation that arrives while it connects."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
