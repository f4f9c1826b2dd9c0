"""The waiting room, driven as a server drives it: many clients wait, few threads work."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.db import connections

from tests import factories
from workers.lifecycle import generations
from workers.messaging.completion_events import publish_ended
from workers.models import Generation, Status
from zekron_api.waiting import completion_waiters
from zekron_api.waiting.asgi_handler import THREAD_COUNT, WaitingRoom

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]

# Far longer than any takes.
SCENARIO_SECONDS = 120


class Exchange:
    """One request to an ASGI application, and what it answered."""

    def __init__(
        self,
        app: Any,
        key: str,
        body: bytes | None = None,
        *,
        method: str = "POST",
        path: str = "/v1/generate",
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        content = body if body is not None else json.dumps({"prompt": "x", "size": "1024x1024"}).encode()
        self._incoming.put_nowait({"type": "http.request", "body": content, "more_body": False})
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"authorization", f"Bearer {key}".encode()),
        ]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "query_string": b"",
        }
        self.task = asyncio.create_task(app(scope, self._incoming.get, self._send))

    def leave(self) -> None:
        """The client closes its connection."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        self.body += message.get("body", b"")


@pytest.fixture
def served() -> Callable[[Callable[[WaitingRoom], Awaitable[None]]], None]:
    """Runs a scenario against a started waiting room, and stops it in the order that a server does."""

    def serve(scenario: Callable[[WaitingRoom], Awaitable[None]]) -> None:
        async def run() -> None:
            app = WaitingRoom()
            incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            outgoing: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
            life = asyncio.create_task(app({"type": "lifespan"}, incoming.get, outgoing.put))
            incoming.put_nowait({"type": "lifespan.startup"})
            assert (await outgoing.get())["type"] == "lifespan.startup.complete"
            try:
                # What waits for something that never comes is told so.
                async with asyncio.timeout(SCENARIO_SECONDS):
                    await scenario(app)
            finally:
                incoming.put_nowait({"type": "lifespan.shutdown"})
                await life

        asyncio.run(run())

    return serve


async def until(condition: Callable[[], bool]) -> None:
    """Returns once the condition holds; fails after half a minute."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def in_thread(work: Callable[[], Any]) -> Awaitable[Any]:
    """Runs what uses the database outside the event loop."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return asyncio.to_thread(run)


def complete_all() -> None:
    """Does the worker's part for all that is queued, on the database's clock."""
    for generation in Generation.objects.filter(status=Status.QUEUED):
        running = generations.claim(generation_id=generation.pk)
        generations.complete(generation=running, image=factories.sealed(), cost_micros=running.quote_micros)


def test_a_parked_client_gets_its_reply_when_its_generation_ends(served, me, monkeypatch):
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await exchange.task
        assert exchange.status == 200
        assert json.loads(exchange.body)["data"]["remaining_balance"] == "9.9733"
        assert {"x-request-id", "x-ratelimit-remaining", "x-content-type-options"} <= set(exchange.headers)
        assert exchange.headers["content-type"] == "application/json"
        assert int(exchange.headers["content-length"]) == len(exchange.body)
        assert len(app.waiters) == 0

    served(scenario)


def test_a_lost_message_is_made_up_for_by_looking_at_the_row(served, me, monkeypatch):
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.05)
    monkeypatch.setattr("workers.messaging.completion_events.publish_ended", lambda *, generation_id: None)

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await exchange.task
        assert exchange.status == 200

    served(scenario)


def test_a_client_that_leaves_frees_its_place_at_once_and_its_generation_goes_on(served, me):
    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        exchange.leave()
        await exchange.task
        assert (len(app.waiters), exchange.status) == (0, 0)
        generation = await in_thread(Generation.objects.get)
        assert generation.status == Status.QUEUED

    served(scenario)


def test_an_end_that_comes_before_the_wait_is_not_missed(served, monkeypatch):
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)

    async def scenario(app: WaitingRoom) -> None:
        app.waiters.wake(7)
        assert app.waiters.join(7).done()
        assert not app.waiters.join(8).done()

    served(scenario)


def test_a_server_that_stops_as_soon_as_it_has_started_does_stop(served):
    async def scenario(_app: WaitingRoom) -> None:
        return

    async def all_stop() -> None:
        async with asyncio.timeout(60):
            await asyncio.to_thread(lambda: [served(scenario) for _ in range(5)])

    asyncio.run(all_stop())


def test_an_announcement_reaches_the_waiter_over_redis(served, monkeypatch):
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)

    async def scenario(app: WaitingRoom) -> None:
        future = app.waiters.join(12)

        def announced() -> bool:
            publish_ended(generation_id=12)
            return future.done()

        await until(announced)

    served(scenario)


def test_at_the_deadline_a_parked_client_is_told(served, me, settings):
    settings.SYNC_WAIT_SECONDS = 0

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await exchange.task
        assert exchange.status == 503
        assert json.loads(exchange.body)["error"]["type"] == "service_busy"

    served(scenario)


def test_two_hundred_clients_wait_without_a_thread_or_a_connection_each(served, me, settings):
    settings.OPEN_GENERATIONS_LIMIT = settings.REQUESTS_PER_MINUTE = 1000

    async def scenario(app: WaitingRoom) -> None:
        exchanges = [Exchange(app, me.key) for _ in range(200)]
        await until(lambda: len(app.waiters) == 200)
        views = [thread for thread in threading.enumerate() if thread.name.startswith("view")]
        assert len(views) <= THREAD_COUNT
        await in_thread(complete_all)
        await asyncio.gather(*(exchange.task for exchange in exchanges))
        assert {exchange.status for exchange in exchanges} == {200}

    served(scenario)


def test_a_body_over_the_limit_is_refused_in_its_turn_and_never_kept_whole(served, me, settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    async def scenario(app: WaitingRoom) -> None:
        known, unknown = Exchange(app, me.key, b"x" * 5000), Exchange(app, "zk_unknown", b"x" * 5000)
        await asyncio.gather(known.task, unknown.task)
        assert (known.status, unknown.status) == (413, 401)

    served(scenario)


def test_a_redis_that_is_away_stops_no_reply(served, me, settings, monkeypatch):
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.05)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await exchange.task
        assert exchange.status == 200

    served(scenario)
