"""Threads that move one at a time: each only from when it is let go until it pauses or its work is done."""

import threading
from collections.abc import Callable


def _taken() -> threading.Lock:
    lock = threading.Lock()
    lock.acquire()
    return lock


class Body:
    """A thread that plays one part after another, so that what it opened, such as a connection, is kept."""

    def __init__(self, name: str, *, before: Callable[[], None], after: Callable[[], None]) -> None:
        """`before` and `after` run in the thread itself, as it begins and as it is closed."""
        self._before, self._after = before, after
        self._go, self._back = _taken(), _taken()
        self._part: Callable[[], None] | None = None
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def take(self, part: Callable[[], None]) -> None:
        """Set the next part, which must raise nothing; it begins at the first step."""
        assert self._part is None
        self._part = part

    def step(self) -> bool:
        """Lets the thread run until it pauses or its part ends; says whether it has ended."""
        self._go.release()
        self._back.acquire()
        return self._part is None

    def pause(self) -> None:
        """Stand still until the next step; the part calls this."""
        self._back.release()
        self._go.acquire()

    def close(self) -> None:
        """End the thread; one that is in the midst of its part ends with the process."""
        self._closed = True
        if self._part is None:
            self._go.release()
            self._thread.join()

    def _run(self) -> None:
        self._go.acquire()
        self._before()
        while not self._closed:
            assert self._part is not None
            self._part()
            self._part = None
            self._back.release()
            self._go.acquire()
        self._after()
