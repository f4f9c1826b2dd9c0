"""The orders that are on their way to the batchers.

An order is on its way from the moment its message is taken, while its generation is being claimed. The module knows
no database and no pipeline.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class IncomingOrders:
    """A set of threads, each of which brings one order."""

    def __init__(self) -> None:
        self._coming: set[int] = set()

    @contextmanager
    def expect_order(self) -> Iterator[None]:
        """Count this thread's order as on its way until `arrived` is called, or until the block ends.

        Enter the block when the message is taken.
        """
        self._coming.add(threading.get_ident())
        try:
            yield
        finally:
            self.mark_arrived()

    def mark_arrived(self) -> None:
        """Record that this thread's order has arrived. It may be called twice."""
        self._coming.discard(threading.get_ident())

    def has_any(self) -> bool:
        """Return whether more orders may arrive within a few milliseconds."""
        return bool(self._coming)
