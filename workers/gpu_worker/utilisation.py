"""The fraction of time in which a device works, computed from its total busy seconds."""

import time
from collections import deque
from collections.abc import Callable

# Over a shorter window, a device with long batches would seem idle and overloaded in turn.
WINDOW_SECONDS = 60.0


class Utilisation:
    """A sliding window over the busy seconds of a device, sampled at each call of `fraction`."""

    def __init__(
        self, busy_seconds: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._looks = deque([(clock(), busy_seconds())])

    def fraction(self) -> float:
        """Return the busy fraction of the last minute, or of the time since the start, from 0 to 1.

        Call it every few seconds.
        """
        now, busy = self._clock(), self._busy_seconds()
        self._looks.append((now, busy))
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()
        then, before = self._looks[0]
        # A batch is counted in full when it ends, even the part of it that lies before the window.
        return min(1.0, (busy - before) / (now - then)) if now > then else 0.0
