"""How many pixels may be in work at once in this process, so that large pictures wait instead of filling memory."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Safe for threads. Whoever asks for more than all of it would wait for ever, so that is refused."""

    def __init__(self, pixels: int) -> None:
        self._whole = self._left = pixels
        self._freed = threading.Condition()

    @contextmanager
    def spend(self, pixels: int) -> Iterator[None]:
        """Waits until that many are left, and takes them for as long as the block runs."""
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
