"""Who waits for which generation in this web process, and what wakes them: Redis at once, the rows as a fallback."""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import redis
import redis.asyncio
from django.conf import settings

from workers.messaging import completion_events

log = logging.getLogger(__name__)

# Pub/sub may lose a message, so all that wait are looked up this often, in one query.
POLL_SECONDS = 2.0
# A generation may end before its client's wait begins; ends as recent as this many are remembered.
MAX_RECENT_COUNT = 10_000
_RECONNECT_SECONDS = 1.0

EndedAmong = Callable[[Collection[int]], Awaitable[set[int]]]


class CompletionWaiters:
    """Futures by generation id. Everything here runs in the event loop, so nothing needs a lock."""

    def __init__(self, *, ended_among: EndedAmong) -> None:
        self._ended_among = ended_among
        self._futures: dict[int, set[asyncio.Future[None]]] = {}
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._hears = True

    def __len__(self) -> int:
        return sum(len(futures) for futures in self._futures.values())

    def add(self, generation_id: int) -> "asyncio.Future[None]":
        """A future that is done when the generation has ended. Give it to `leave` afterwards."""
        future = asyncio.get_running_loop().create_future()
        self._futures.setdefault(generation_id, set()).add(future)
        if generation_id in self._recent:
            future.set_result(None)
        return future

    def remove(self, generation_id: int, future: "asyncio.Future[None]") -> None:
        """Forgets a future of `join`."""
        futures = self._futures.get(generation_id, set())
        futures.discard(future)
        if not futures:
            self._futures.pop(generation_id, None)

    def notify(self, generation_id: int) -> None:
        """Wakes whoever waits for this generation, and who is just about to."""
        self._recent[generation_id] = None
        if len(self._recent) > MAX_RECENT_COUNT:
            self._recent.popitem(last=False)
        for future in self._futures.get(generation_id, ()):
            if not future.done():
                future.set_result(None)

    async def poll(self) -> None:
        """Looks at the rows of all that wait, every few seconds, until it is cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._check_rows()

    async def listen(self) -> None:
        """Hears of ends over Redis until it is cancelled; connects again for as long as that takes."""
        while True:
            try:
                await self._hear()
            except redis.RedisError as error:
                # Once an outage: the next attempt follows within a second.
                level = logging.WARNING if self._hears else logging.DEBUG
                log.log(level, "not hearing of ends, the rows are polled meanwhile: %s", error)
                self._hears = False
            await asyncio.sleep(_RECONNECT_SECONDS)

    async def _hear(self) -> None:
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL,
            socket_connect_timeout=2,
            socket_timeout=5,
            health_check_interval=10,
            decode_responses=True,
        )
        async with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(completion_events.channel())
            if not self._hears:
                log.warning("hearing of ends again")
            self._hears = True
            # What ended while nobody listened is in the rows.
            await self._check_rows()
            while True:
                message = await pubsub.get_message(timeout=5)
                if message is not None:
                    self.notify(int(message["data"]))

    async def _check_rows(self) -> None:
        if not self._futures:
            return
        started = time.monotonic()
        with suppress(asyncio.TimeoutError):
            for generation_id in await self._ended_among(list(self._futures)):
                self.notify(generation_id)
        if time.monotonic() - started > POLL_SECONDS:
            log.warning("looking at the rows of %d waiting generations is slow", len(self._futures))
