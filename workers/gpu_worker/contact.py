"""For how long this process has reached the database without a pause.

Whoever has not cannot tell a dead worker from one that did not reach it either.
"""

import time
from collections.abc import Callable


class Contact:
    """For one thread."""

    def __init__(self, *, pause_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Between two moments that lie further apart than `pause_seconds` there was a pause."""
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._since = self._last = clock()

    def note(self) -> float:
        """The database has answered just now: for how many seconds it has done so."""
        now = self._clock()
        if now - self._last > self._pause_seconds:
            self._since = now
        self._last = now
        return now - self._since
