"""The probe of an event loop, for other threads: one that answers nobody has to be started again."""

import asyncio
import threading
from typing import Final

ANSWER_SECONDS: Final = 5.0


class LoopProbe:
    """The event loop of a server, once the server has started."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def set_running_loop(self) -> None:
        """Watch the loop that calls this."""
        self._loop = asyncio.get_running_loop()

    def is_alive(self) -> bool:
        """Return whether the loop answers in time. A loop that has not started yet counts as alive."""
        if self._loop is None:
            return True
        answered = threading.Event()
        try:
            self._loop.call_soon_threadsafe(answered.set)
        except RuntimeError:
            # The loop is closed.
            return False
        return answered.wait(ANSWER_SECONDS)
