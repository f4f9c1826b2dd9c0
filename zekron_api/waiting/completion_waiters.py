"""The clients of this web process that wait for a generation.

A message over Redis wakes them at once, and polling the rows is the fallback.
"""

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final

import redis
import redis.asyncio
from django.conf import settings

from workers.messaging import background, completion_events, progress_events

log = logging.getLogger(__name__)

# Pub/sub may lose a message, so one query checks all waiting generations this often.
POLL_SECONDS: Final = 2.0
# A generation may end before its client's wait begins, so this many recent ends are remembered.
MAX_RECENT_COUNT: Final = 10_000
MAX_ID_DIGITS: Final = 19
_RECONNECT_SECONDS: Final = 1.0

EndedAmong = Callable[[Collection[int]], Awaitable[set[int]]]


class CompletionWaiters:
    """Futures by generation id. All methods run in the event loop, so no lock is needed."""

    def __init__(
        self, *, ended_among: EndedAmong, on_progress: Callable[[bytes], None] = lambda _: None
    ) -> None:
        """Create it without clients. `on_progress` gets the messages of workers about their steps.

        It raises ValueError for a message of another form.
        """
        self._ended_among = ended_among
        self._on_progress = on_progress
        self._futures: dict[int, set[asyncio.Future[None]]] = {}
        self._count = 0
        self._recent: OrderedDict[int, None] = OrderedDict()
        self._is_subscribed = True

    def __len__(self) -> int:
        """Return the number of futures. Any thread may call this."""
        return self._count

    def add(self, generation_id: int) -> "asyncio.Future[None]":
        """Return a future that is done when the generation has ended. Pass it to `remove` afterwards."""
        future = asyncio.get_running_loop().create_future()
        self._futures.setdefault(generation_id, set()).add(future)
        self._count += 1
        if generation_id in self._recent:
            future.set_result(None)
        return future

    def remove(self, generation_id: int, future: "asyncio.Future[None]") -> None:
        """Remove a future that `add` returned. May be called twice."""
        futures = self._futures.get(generation_id, set())
        if future in futures:
            futures.remove(future)
            self._count -= 1
        if not futures:
            self._futures.pop(generation_id, None)

    def notify(self, generation_id: int) -> None:
        """Wake every client that waits for this generation, or that will soon wait for it."""
        self._recent[generation_id] = None
        if len(self._recent) > MAX_RECENT_COUNT:
            self._recent.popitem(last=False)
        for future in self._futures.get(generation_id, ()):
            if not future.done():
                future.set_result(None)

    async def poll(self) -> None:
        """Check the rows of all waiting generations every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._check_rows()

    async def listen(self) -> None:
        """Receive the ends of generations over Redis until cancelled, and reconnect after every error."""
        while True:
            try:
                await self._receive()
            except redis.RedisError as error:
                # Only the first error of an outage is a warning, because an attempt follows each second.
                level = logging.WARNING if self._is_subscribed else logging.DEBUG
                log.log(level, "Redis does not deliver the ends of generations; polling the rows: %s", error)
                self._is_subscribed = False
            await asyncio.sleep(_RECONNECT_SECONDS)

    @staticmethod
    def connect(url: str) -> redis.asyncio.Redis:
        """Return a client of its own, because a subscription occupies a connection."""
        return redis.asyncio.Redis.from_url(
            url,
            socket_connect_timeout=2,
            socket_timeout=5,
            health_check_interval=10,
        )

    async def _receive(self) -> None:
        client = self.connect(settings.REDIS_URL)
        async with client, client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(completion_events.channel(), progress_events.channel())
            if not self._is_subscribed:
                log.warning("Redis delivers the ends of generations again.")
            self._is_subscribed = True
            # The rows show the generations that ended during the outage.
            await self._check_rows()
            while True:
                message = await pubsub.get_message(timeout=5)
                if message is not None:
                    await self._hear(message["channel"].decode(), message["data"])

    async def _hear(self, channel: str, text: bytes) -> None:
        """Take note of a message. Any client of the same Redis may publish anything on the channels."""
        try:
            if channel == progress_events.channel():
                self._on_progress(text)
            elif text.isdigit() and len(text) <= MAX_ID_DIGITS:
                self.notify(int(text))
            else:
                raise ValueError(f"a completion event of {len(text)} bytes is no id")
        except ValueError as error:
            await asyncio.to_thread(background.note, name="completion listener", error=error)

    async def _check_rows(self) -> None:
        if not self._futures:
            return
        started = time.monotonic()
        with suppress(asyncio.TimeoutError):
            for generation_id in await self._ended_among(list(self._futures)):
                self.notify(generation_id)
        if time.monotonic() - started > POLL_SECONDS:
            log.warning("Checking the rows of %d waiting generations is slow.", len(self._futures))
