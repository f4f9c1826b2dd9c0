"""Guards of long-lived threads and tasks: an unexpected error is logged and counted, and the work goes on.

A thread that ended would leave a process that looks alive and does only a part of its work.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from workers.messaging import counters

log = logging.getLogger(__name__)

# A task that fails at once is begun again after this time.
PAUSE_SECONDS: Final = 1.0


def survive(*, name: str, work: Callable[[], object]) -> bool:
    """Run one round of a thread's work, and return whether it ended without an error. Never raises."""
    try:
        work()
    except BaseException as error:  # noqa: BLE001 (also an exit that a library asks for must not end the thread)
        note(name=name, error=error)
        return False
    return True


async def keep_running(*, name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run a task's work again whenever it ends or fails, until this task is cancelled."""
    while True:
        try:
            await work()
            note_later = partial(note, name=name, error=RuntimeError(f"{name} ended"))
        except BaseException as error:
            task = asyncio.current_task()
            if task is None or task.cancelling() or not isinstance(error, Exception | asyncio.CancelledError):
                raise
            note_later = partial(note, name=name, error=error)
        await asyncio.to_thread(note_later)
        await asyncio.sleep(PAUSE_SECONDS)


def note(*, name: str, error: BaseException) -> None:
    """Log and count an unexpected error."""
    log.error("%s failed unexpectedly and goes on", name, exc_info=error)
    counters.count_background_error(name=name)
