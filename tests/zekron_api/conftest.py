"""A client of the API: an account with a key, and a worker without a GPU that works off the queue in this process."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from django.db import connections

from tests import factories
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.waiting.exchange import Serve
from workers.gpu_worker import attempt
from workers.lifecycle import admission, queue_position, queue_readings
from workers.messaging import enqueue, worker_registry
from workers.messaging.redis_client import connection as broker
from zekron_api.waiting.asgi_handler import WaitingRoom

# Far longer than any takes.
SCENARIO_SECONDS = 120


@pytest.fixture
def me() -> Caller:
    """Return the caller who owns the objects of the test."""
    return caller()


@pytest.fixture
def stranger() -> Caller:
    """Return a caller of another account."""
    return caller()


@pytest.fixture(autouse=True)
def no_rates() -> None:
    """Rates start anew for each test."""
    broker().flushdb()


@pytest.fixture(autouse=True)
def no_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers and the queue are read anew in each test."""
    monkeypatch.setattr(admission, "_readings", queue_readings.QueueReadings())
    monkeypatch.setattr(queue_position, "_seen", {})


@pytest.fixture(scope="module")
def room() -> Iterator[asgi_client.Served]:
    """Start a waiting room that takes requests as a server hands them on."""
    with asgi_client.served() as room:
        yield room


@pytest.fixture
def bearer(me: Caller) -> tuple[str, str]:
    """Return the header with the caller's key."""
    return ("authorization", f"Bearer {me.key}")


@pytest.fixture
def idle_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Show a worker that takes no message."""
    worker_registry.publish(worker_name="test", seconds_per_image=0.01)
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[factories.StandInEngine]:
    """Return the engine of a worker in this process that starts on each generation as soon as its message is sent."""
    engine = factories.StandInEngine()
    threads: list[threading.Thread] = []
    with factories.attempt_context(engine) as context:
        # On a busy machine a request may come before the heartbeat's thread has shown the worker.
        context.heartbeat.beat()

        def work(generation_id: int) -> None:
            attempt.run_next(context=context)
            connections.close_all()

        def send(*, generation_id: int) -> None:
            threads.append(threading.Thread(target=work, args=(generation_id,)))
            threads[-1].start()

        monkeypatch.setattr(enqueue, "send", send)
        yield engine
        for thread in threads:
            thread.join()


@pytest.fixture
def served() -> Serve:
    """Return a function that runs a scenario against a started waiting room, and stops it as a server does."""

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
