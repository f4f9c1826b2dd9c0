"""The deliverer of a process: one thread that claims due deliveries and sends them, many at a time.

A slow receiver holds a place among many and no thread. All database work is done by one more thread, so a process has
one connection for webhooks.
"""

import asyncio
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeVar

from django.db import close_old_connections, connections

from storage import failpoints
from storage.postgresql.availability import UNAVAILABLE
from workers import liveness
from workers.messaging import background
from workers.webhook_models import WebhookDelivery
from workers.webhooks import claims, messages, sending
from workers.webhooks.claims import Room
from workers.webhooks.messages import Describe, Message
from workers.webhooks.sending import Outcome

log = logging.getLogger(__name__)
T = TypeVar("T")

# The attempts of this process at once. Half of them are kept from endpoints that fail.
MAX_ATTEMPTS: Final = 200
MAX_FAILING_ATTEMPTS: Final = 100
# The interval at which the table is read without a hint, for retries and for lost hints.
POLL_SECONDS: Final = 2.0
# A process that stops waits this long for its attempts, which is less than its supervisor waits for it.
STOP_SECONDS: Final = 10.0
NAME: Final = "webhooks"


class Deliverer:
    """Owner of the threads that deliver. Call `start` and `close` once each."""

    def __init__(self, *, describe: Describe) -> None:
        """Create the threads without starting them. `describe` writes the data of an event of a generation."""
        self._describe = describe
        self._loop: asyncio.AbstractEventLoop | None = None
        self._hint = asyncio.Event()
        self._closed = threading.Event()
        self._after_id = 0
        self._failing_count = 0
        self._attempts: set[asyncio.Task[None]] = set()
        self._database = ThreadPoolExecutor(1, thread_name_prefix=f"{NAME} database")
        self._thread = threading.Thread(
            target=liveness.run_watched, args=(self._run,), name=NAME, daemon=True
        )

    def start(self) -> None:
        """Start the threads, which begin to look for deliveries."""
        self._thread.start()

    def wake(self) -> None:
        """Look for deliveries now. It may be called from any thread, any number of times."""
        if self._loop is not None:
            # Between two runs the loop is closed, and the next run reads the table first.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._hint.set)

    def close(self) -> None:
        """Claim nothing more, and return when the attempts that are under way have ended, or after seconds.

        What has not ended by then is sent again by another process, once its lease is over.
        """
        self._closed.set()
        self.wake()
        self._thread.join()
        self._database.submit(connections.close_all)
        self._database.shutdown()

    def _run(self) -> None:
        while not self._closed.is_set():
            if not background.survive(name=NAME, work=lambda: asyncio.run(self._deliver())):
                self._closed.wait(background.PAUSE_SECONDS)

    async def _deliver(self) -> None:
        self._loop, self._hint = asyncio.get_running_loop(), asyncio.Event()
        self._attempts, self._failing_count = set(), 0
        while not self._closed.is_set():
            self._hint.clear()
            try:
                is_idle = not await self._begin_some()
            except Exception as error:  # noqa: BLE001 (the next round tries again)
                _note(error)
                is_idle = True
            if is_idle:
                await self._rest()
        if self._attempts:
            await asyncio.wait(self._attempts, timeout=STOP_SECONDS)

    async def _rest(self) -> None:
        """Wait for a hint, or until the table is to be read anyway."""
        try:
            async with asyncio.timeout(POLL_SECONDS):
                await self._hint.wait()
        except TimeoutError:
            pass

    async def _begin_some(self) -> bool:
        """Begin the attempts for which there is room, and return whether there may be more to begin at once."""
        room = Room(MAX_ATTEMPTS - len(self._attempts), MAX_FAILING_ATTEMPTS - self._failing_count)
        if room.total < claims.MAX_AT_ONCE:
            await asyncio.wait(self._attempts, return_when=asyncio.FIRST_COMPLETED)
            return True
        prepare = partial(_prepare, self._after_id, room, self._describe)
        prepared, self._after_id = await self._in_database(prepare)
        for delivery, message in prepared:
            self._begin(delivery, message)
        return bool(prepared) or bool(self._after_id)

    def _begin(self, delivery: WebhookDelivery, message: Message) -> None:
        is_failing = delivery.endpoint.failure_count > 0
        self._failing_count += is_failing
        attempt = asyncio.create_task(self._attempt(delivery, message))
        self._attempts.add(attempt)
        attempt.add_done_callback(partial(self._finish, is_failing))

    def _finish(self, is_failing: bool, attempt: "asyncio.Task[None]") -> None:
        self._failing_count -= is_failing
        self._attempts.discard(attempt)
        # The endpoint may have more waiting than it gets at once.
        self._hint.set()

    async def _attempt(self, delivery: WebhookDelivery, message: Message) -> None:
        try:
            outcome = await sending.post(url=message.url, body=message.body, headers=message.headers)
            await self._in_database(partial(_record, delivery, outcome))
        except Exception as error:  # noqa: BLE001 (without a record the lease ends, and the event is sent again)
            _note(error)

    def _in_database(self, work: Callable[[], T]) -> "asyncio.Future[T]":
        return asyncio.get_running_loop().run_in_executor(self._database, _with_connection, work)


def _note(error: Exception) -> None:
    if isinstance(error, UNAVAILABLE):
        # The process logs once that PostgreSQL is away.
        log.debug("webhooks did not reach PostgreSQL: %s", error)
    else:
        background.note(name=NAME, error=error)


def _with_connection(work: Callable[[], T]) -> T:
    close_old_connections()
    return work()


def _prepare(
    after_id: int, room: Room, describe: Describe
) -> tuple[list[tuple[WebhookDelivery, Message]], int]:
    """Claim due deliveries of the endpoints behind `after_id`, and return them with their messages.

    Return also the endpoint behind which the next look starts.
    """
    look = claims.look(after_id=after_id)
    # Each endpoint gets its whole share, and those for which no room is left come first in the next look.
    due_ids = look.due_ids[: room.total // claims.MAX_AT_ONCE]
    last_id = look.last_id if len(due_ids) == len(look.due_ids) else due_ids[-1]
    claimed = claims.claim(endpoint_ids=due_ids, room=room) if due_ids else []
    if claimed:
        failpoints.reach("webhook_claimed")
    now = datetime.now(UTC)
    prepared = []
    for delivery in claimed:
        try:
            message = messages.compose(delivery=delivery, describe=describe, now=now)
        except Exception as error:  # noqa: BLE001 (one message that cannot be made must not delay the others)
            background.note(name=NAME, error=error)
            claims.record(delivery=delivery, outcome=Outcome(None, "internal", 0))
        else:
            prepared.append((delivery, message))
    return prepared, last_id


def _record(delivery: WebhookDelivery, outcome: Outcome) -> None:
    failpoints.reach("webhook_sent")
    claims.record(delivery=delivery, outcome=outcome)
