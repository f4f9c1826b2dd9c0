"""The limit of bytes in work at once in this process, so that large pictures wait instead of filling memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class MemoryBudget:
    """A thread-safe budget of bytes. It refuses a request for more than the whole, which would wait for ever."""

    def __init__(self, byte_count: int) -> None:
        self._whole = self._left = byte_count
        self._freed = threading.Condition()
        # Only one thread waits for bytes, and the others wait for their turn. Otherwise small pictures would overtake a
        # large one for as long as they come.
        self._turn = threading.Lock()

    @contextmanager
    def spend(self, byte_count: int) -> Iterator[None]:
        """Wait until the bytes are left, and hold them while the block runs.

        Raise ValueError above the whole budget.
        """
        if byte_count > self._whole:
            raise ValueError(f"{byte_count} bytes are more than the whole budget of {self._whole}")
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._left >= byte_count)
            self._left -= byte_count
        try:
            yield
        finally:
            with self._freed:
                self._left += byte_count
                self._freed.notify_all()
