"""A response that waits for checks in other threads. It knows neither the checks nor the server."""

import asyncio
import concurrent.futures
from collections.abc import Callable, Collection
from typing import Any

from django.http import HttpResponse

Futures = Collection["concurrent.futures.Future[Any]"]


class PendingCheckResponse(HttpResponse):
    """A response whose status and content are known once some futures are done, or after `wait_seconds`.

    Middleware treats it like any response. `complete` returns the status and the content, without waiting.
    """

    def __init__(
        self,
        *,
        futures: Futures,
        wait_seconds: float,
        complete: Callable[[], tuple[int, bytes]],
        content_type: str,
    ) -> None:
        super().__init__(content_type=content_type)
        self._futures = futures
        self._wait_seconds = wait_seconds
        self._complete = complete

    async def wait(self) -> None:
        """Wait without a thread, then fill in status and content."""
        if self._futures:
            futures = [asyncio.wrap_future(future) for future in self._futures]
            await asyncio.wait(futures, timeout=self._wait_seconds)
        self._fill()

    def wait_in_place(self) -> None:
        """Wait in this thread, then fill in status and content."""
        concurrent.futures.wait(self._futures, timeout=self._wait_seconds)
        self._fill()

    def _fill(self) -> None:
        self.status_code, self.content = self._complete()
        self["Content-Length"] = str(len(self.content))
