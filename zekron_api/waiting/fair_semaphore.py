"""A semaphore with a limit for each account, so that no account can take every slot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class PerAccountSemaphore:
    """A semaphore for one event loop: `limit` slots in all, and at most `limit_an_account` for one account."""

    def __init__(self, *, limit: int, limit_an_account: int) -> None:
        self._limit_an_account = limit_an_account
        self._all = asyncio.Semaphore(limit)
        # An account's semaphore disappears with the last task that has one of its slots or waits for one.
        self._own: WeakValueDictionary[int, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def slot(self, account_id: int) -> AsyncIterator[None]:
        """Wait for a slot in order of arrival, and hold it while the block runs."""
        own = self._own.get(account_id)
        if own is None:
            own = self._own[account_id] = asyncio.Semaphore(self._limit_an_account)
        # The account's slot comes first, so that a task that waits for its own account takes no slot from others.
        async with own, self._all:
            yield
