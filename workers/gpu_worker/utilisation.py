"""What part of the time a device works, told from a clock of the seconds that it has worked in all."""

import time
from collections import deque
from collections.abc import Callable

# Over less time, a device whose batches end seldom would seem idle and overworked in turn.
WINDOW_SECONDS = 60.0


class Utilisation:
    """Looks at the seconds that a device has worked, whenever it is asked."""

    def __init__(
        self, busy_seconds: Callable[[], float], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._busy_seconds = busy_seconds
        self._clock = clock
        self._looks = deque([(clock(), busy_seconds())])

    def fraction(self) -> float:
        """The part of the last minute, or of the time since the start, from 0 to 1. To be called every few seconds."""
        now, busy = self._clock(), self._busy_seconds()
        self._looks.append((now, busy))
        while len(self._looks) > 2 and self._looks[1][0] <= now - WINDOW_SECONDS:
            self._looks.popleft()
        then, before = self._looks[0]
        # A batch counts as a whole when it ends, also what of it lies before the window.
        return min(1.0, (busy - before) / (now - then)) if now > then else 0.0
