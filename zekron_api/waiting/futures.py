"""Waits for several futures of one event loop."""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


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


async def run_all(parts: "Sequence[Coroutine[Any, Any, T]]") -> list[T]:
    """Run the coroutines at once, and return their results. If one raises, cancel the others and raise its exception.

    One alone costs no task.
    """
    if len(parts) == 1:
        return [await parts[0]]
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


async def cancel_all(tasks: Iterable["asyncio.Task[None]"]) -> None:
    """Cancel the tasks until they end. Redis's client loses a cancellation that arrives while it connects."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.5)
