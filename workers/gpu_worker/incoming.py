"""Which attempts are on their way to the batchers: a message was taken, and what it stands for is being claimed.

Knows no database and no pipeline.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class IncomingOrders:
    """Counts threads, each of which brings one order."""

    def __init__(self) -> None:
        self._coming: set[int] = set()

    @contextmanager
    def expect_order(self) -> Iterator[None]:
        """Around what this thread does from its message on; it is on its way until it has arrived, or at most as long
        as the block runs.
        """
        self._coming.add(threading.get_ident())
        try:
            yield
        finally:
            self.arrived()

    def arrived(self) -> None:
        """This thread brings its order now. May be called twice."""
        self._coming.discard(threading.get_ident())

    def any(self) -> bool:
        """Whether more may come within a few milliseconds."""
        return bool(self._coming)
