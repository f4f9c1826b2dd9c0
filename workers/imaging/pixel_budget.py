"""The limit of pixels in work at once in this process, so that large pictures wait instead of filling memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """A thread-safe budget of pixels. It refuses a request for more than the whole, which would wait for ever."""

    def __init__(self, pixels: int) -> None:
        self._whole = self._left = pixels
        self._freed = threading.Condition()

    @contextmanager
    def spend(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` are left, and hold them while the block runs. Raise ValueError above the whole budget."""
        if pixels > self._whole:
            raise ValueError(f"{pixels} pixels are more than the whole budget of {self._whole}")
        with self._freed:
            self._freed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._freed:
                self._left += pixels
                self._freed.notify_all()
