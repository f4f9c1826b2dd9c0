"""Room for what is large: for so much at once, and for so much of one account, so that none can take it all."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class PerAccountSemaphore:
    """For one event loop."""

    def __init__(self, *, limit: int, limit_an_account: int) -> None:
        self._limit_an_account = limit_an_account
        self._all = asyncio.Semaphore(limit)
        # An account's is forgotten with the last who has a place of it or waits for one.
        self._own: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, account_id: int) -> AsyncIterator[None]:
        """Waits for a place, in turn, and has it for as long as the block runs."""
        own = self._own.get(account_id)
        if own is None:
            own = self._own[account_id] = asyncio.Semaphore(self._limit_an_account)
        # In this order, so that who waits for another of the same account keeps no place from others.
        async with own, self._all:
            yield
