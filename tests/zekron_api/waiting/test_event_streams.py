"""Streams of events in the waiting room: they tell every change, and many of them need no thread and no connection."""

import asyncio
import json
import re
import threading
from typing import Any

import pytest
from django.db import connection, connections
from pytest_django import Settings

from tests import factories
from tests.factories import ERROR
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, in_thread, until
from workers.lifecycle import generations, queue_position, watching
from workers.messaging import completion_events, progress_events, redis_client, worker_registry
from workers.messaging.progress_events import Step
from workers.models import Generation, Status
from zekron_api.waiting import completion_waiters, event_streams, sending, shutdown
from zekron_api.waiting.asgi_handler import THREAD_COUNT, WaitingRoom
from zekron_api.waiting.event_stream import EventStreamResponse, Stream, Watched

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
HOUR = 3600.0


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the rows often, and wait for no heartbeat."""
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(queue_position, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(queue_position, "_seen", {})


def watch(app: WaitingRoom, key: str, generation: Generation, query: str = "", **headers: str) -> Exchange:
    path = f"/v1/generations/{generation.pk}/events{query}"
    return Exchange(app, key, b"", method="GET", path=path, **headers)


def events(exchange: Exchange) -> list[tuple[str, int, Any]]:
    """Return name, id and data of each event that has arrived whole."""
    found = re.findall(rb"id: (\d+)\nevent: (\w+)\ndata: (.*)\n\n", exchange.body)
    return [(name.decode(), int(version), json.loads(data)) for version, name, data in found]


def names(exchange: Exchange) -> list[str]:
    return [name for name, *_ in events(exchange)]


def test_a_stream_tells_every_change_from_the_present_state_to_the_end(served: Serve, me: Caller) -> None:
    first, mine = factories.submit(me.account), factories.submit(me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        assert exchange.status == 200
        assert exchange.body.startswith(b"retry: 2000\n\n")
        assert exchange.headers["content-type"] == "text/event-stream"
        assert exchange.headers["cache-control"] == "no-store"
        assert exchange.headers["x-accel-buffering"] == "no"
        assert "content-length" not in exchange.headers
        assert {"x-request-id", "x-ratelimit-remaining"} <= set(exchange.headers)
        await in_thread(lambda: factories.generation_in(Status.QUEUED, me.account))
        await in_thread(
            lambda: generations.cancel(generation=first, error_type="x", error_code="X", now=factories.NOW)
        )
        await until(lambda: len(events(exchange)) == 2)
        running = await in_thread(lambda: factories.claim(generation_id=mine.pk, now=factories.NOW))
        await until(lambda: len(events(exchange)) == 3)
        await in_thread(lambda: progress_events.publish(steps={mine.pk: Step(2, 4), first.pk: Step(9, 9)}))
        await until(lambda: len(events(exchange)) == 4)
        await in_thread(lambda: factories.finish(running))
        await exchange.task
        assert len(app.streams) == len(app.waiters) == 0
        queue = {"eta_seconds": 1}
        told = [(name, data) for name, _, data in events(exchange)]
        assert told[:4] == [
            ("status", {"status": "queued", "queue": {"position": 1, **queue}}),
            ("status", {"status": "queued", "queue": {"position": 0, "eta_seconds": 0}}),
            ("status", {"status": "running", "queue": None}),
            ("progress", {"step": 2, "steps": 4, "fraction": 0.5}),
        ]
        name, end = told[4]
        assert (name, end["id"], end["status"], end["cost"]) == ("completed", mine.pk, "completed", "0.0267")
        assert "b64_json" not in end["image"]
        versions = [version for _, version, _ in events(exchange)]
        assert versions == sorted(versions)
        assert versions[1] < versions[2] == versions[3] < versions[4]

    served(scenario)


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_a_generation_that_has_ended_is_told_at_once_and_a_reconnect_after_it_is_204(
    served: Serve, me: Caller, status: Status
) -> None:
    ended = factories.generation_in(status, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, ended)
        await exchange.task
        [(name, version, data)] = events(exchange)
        assert (name, data["status"]) == (status, status)
        again = watch(app, me.key, ended, last_event_id=str(version))
        await again.task
        assert (again.status, again.body) == (204, b"")
        for other in (str(version - 1), "", "x"):
            earlier = watch(app, me.key, ended, last_event_id=other)
            await earlier.task
            assert names(earlier) == [status]

    served(scenario)


def test_metrics_count_the_streams_and_the_waiting_clients_of_the_process(
    served: Serve, me: Caller, settings: Settings
) -> None:
    settings.METRICS_TOKEN = token = "a token of thirty-two characters"
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        async def read() -> list[bytes]:
            page = Exchange(app, token, b"", method="GET", path="/metrics")
            await page.task
            return sorted(re.findall(rb"^zekron_web_(\w+ [0-9.]+)$", page.body, re.MULTILINE))

        assert await read() == [b"streams 0.0", b"waiting_clients 0.0"]
        streams, waiting = [watch(app, me.key, mine) for _ in range(2)], Exchange(app, me.key)
        await until(lambda: len(app.streams) == 2 and len(app.waiters) == 3)
        assert await read() == [b"streams 2.0", b"waiting_clients 1.0"]
        for exchange in (*streams, waiting):
            exchange.leave()
            await exchange.task
        assert await read() == [b"streams 0.0", b"waiting_clients 0.0"]

    served(scenario)


def test_an_end_is_told_by_its_message_without_a_look(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", HOUR)
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", HOUR)
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        await until(lambda: redis_client.connection().pubsub_numsub(completion_events.channel())[0][1] == 1)
        await in_thread(lambda: generations.fail(generation=mine, **ERROR, now=factories.NOW))
        await exchange.task
        assert names(exchange) == ["status", "failed"]

    served(scenario)


def test_a_lost_message_is_made_up_for_by_the_look(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", HOUR)
    monkeypatch.setattr("workers.messaging.completion_events.publish_ended", lambda *, generation_id: None)
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        await in_thread(lambda: generations.fail(generation=mine, **ERROR, now=factories.NOW))
        await exchange.task
        assert names(exchange)[-1] == "failed"

    served(scenario)


def test_an_invented_end_ends_no_stream(served: Serve, me: Caller) -> None:
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        app.waiters.notify(mine.pk)
        await in_thread(lambda: progress_events.publish(steps={mine.pk: Step(1, 4)}))

        def told() -> bool:
            progress_events.publish(steps={mine.pk: Step(1, 4)})
            return "progress" in names(exchange)

        await until(told)
        assert not exchange.task.done()
        await in_thread(lambda: factories.finish(mine))
        await exchange.task
        assert names(exchange)[-1] == "completed"

    served(scenario)


def test_a_step_is_told_to_those_who_come_later_and_forgotten_with_its_attempt(
    served: Serve, me: Caller
) -> None:
    mine = factories.generation_in(Status.RUNNING, me.account)
    progress_events.publish(steps={mine.pk: Step(3, 4)})

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status", "progress"])
        await in_thread(lambda: generations.put_back(lease_tokens=[mine.lease_token], now=factories.NOW))
        await until(lambda: len(events(exchange)) == 3)
        await in_thread(lambda: factories.claim(generation_id=mine.pk, now=factories.NOW))
        await until(lambda: len(events(exchange)) == 4)
        assert names(exchange) == ["status", "progress", "status", "status"]
        exchange.leave()
        await exchange.task

    served(scenario)


def test_a_step_of_the_last_attempt_is_not_told_of_the_next() -> None:
    running = watching.State(7, Status.RUNNING, 1, None)

    async def scenario() -> None:
        watched = Watched(running, None, build_end=lambda: None)
        stream = Stream(EventStreamResponse(account_id=1, watched=[watched]), watched, scope={})
        stream.note_step(Step(3, 4))
        stream.note_state(running._replace(status=Status.QUEUED, version=2))
        assert b"progress" not in stream.take()
        stream.note_state(running._replace(version=3))
        assert b"progress" not in stream.take()
        # A step that comes before its attempt is known is told with the attempt.
        stream.note_state(running._replace(status=Status.QUEUED, version=4))
        stream.note_step(Step(1, 4))
        assert b"progress" not in stream.take()
        stream.note_state(running._replace(version=5))
        assert stream.take().count(b"id: 5\n") == 2
        assert stream.take() == b""

    asyncio.run(scenario())


def test_a_silent_stream_has_heartbeats(served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_streams, "HEARTBEAT_SECONDS", 0.01)
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: exchange.body.count(b": heartbeat\n\n") >= 3)
        assert names(exchange) == ["status"]
        exchange.leave()
        await exchange.task
        assert len(app.streams) == len(app.waiters) == 0

    served(scenario)


def test_an_account_has_at_most_ten_streams_and_a_place_is_free_again_at_once(
    served: Serve, me: Caller, stranger: Caller
) -> None:
    mine, other = (factories.generation_in(Status.RUNNING, who.account) for who in (me, stranger))

    async def scenario(app: WaitingRoom) -> None:
        open_ones = [watch(app, me.key, mine) for _ in range(10)]
        await until(lambda: len(app.streams) == 10)
        refused = watch(app, me.key, mine)
        await refused.task
        assert refused.status == 429
        assert json.loads(refused.body)["error"]["type"] == "stream_limit_exceeded"
        assert {"x-request-id", "x-ratelimit-remaining", "retry-after"} <= set(refused.headers)
        assert refused.headers["content-type"] == "application/json"
        foreign = watch(app, stranger.key, other)
        await until(lambda: len(app.streams) == 11)
        open_ones[0].leave()
        await open_ones[0].task
        last = watch(app, me.key, mine)
        await until(lambda: names(last) == ["status"])
        for exchange in (*open_ones, foreign, last):
            exchange.leave()
        await asyncio.gather(*(exchange.task for exchange in (*open_ones, foreign, last)))
        assert len(app.streams) == 0
        assert not app.streams._count_by_account

    served(scenario)


def test_a_server_that_stops_ends_its_streams(served: Serve, me: Caller) -> None:
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        shutdown.mark(exchange.scope)
        await exchange.task
        assert names(exchange) == ["status"]

    served(scenario)


def test_a_client_that_does_not_read_is_cut_off(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 0.05)
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        reads = asyncio.Event()

        async def send(_message: Any) -> None:
            await reads.wait()

        scope = {**exchange.scope}
        never: asyncio.Queue[Any] = asyncio.Queue()
        never.put_nowait({"type": "http.request", "body": b"", "more_body": False})
        await app(scope, never.get, send)
        exchange.leave()
        await exchange.task
        assert len(app.streams) == 0

    served(scenario)


def test_the_last_event_has_the_bytes_for_those_who_ask(
    served: Serve, me: Caller, engine: factories.StandInEngine
) -> None:
    made = me.generate().json()["data"]
    ended = Generation.objects.get(pk=made["id"])

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, ended, "?include=b64_json")
        await exchange.task
        [(_, _, data)] = events(exchange)
        assert data["image"]["b64_json"] == made["image"]["b64_json"]

    served(scenario)


@pytest.mark.slow
def test_two_hundred_streams_need_no_thread_no_connection_and_no_query_each(
    served: Serve, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_position, "FRESH_SECONDS", 1.0)
    settings.POLLS_PER_MINUTE = 1000
    owners = [caller() for _ in range(20)]
    rows = [(who, factories.submit(who.account)) for who in owners for _ in range(10)]
    looks: list[int] = []
    read_states = watching.read_states

    def read(*, generation_ids: Any) -> list[watching.State]:
        looks.append(len(generation_ids))
        return read_states(generation_ids=generation_ids)

    def server_connections() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return int(cursor.fetchone()[0])

    async def scenario(app: WaitingRoom) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(watching, "read_states", read)
            exchanges = [watch(app, who.key, row) for who, row in rows]
            await until(lambda: len(app.streams) == 200)
            looks.clear()
            await until(lambda: len(looks) >= 3)
            # One look reads all of them.
            assert set(looks) == {200}
            views = [thread for thread in threading.enumerate() if thread.name.startswith("view")]
            assert len(views) <= THREAD_COUNT
            # Those of the views, of the test and of the thread that counts.
            assert await in_thread(server_connections) <= THREAD_COUNT + 2
            assert len(threading.enumerate()) <= THREAD_COUNT + 20
            cancel = generations.cancel
            await in_thread(
                lambda: [
                    cancel(generation=row, error_type="x", error_code="X", now=factories.NOW)
                    for _, row in rows
                ]
            )
            await asyncio.gather(*(exchange.task for exchange in exchanges))
            assert {names(exchange)[-1] for exchange in exchanges} == {"cancelled"}
            assert len(app.streams) == len(app.waiters) == 0

    served(scenario)
    connections.close_all()


def test_a_redis_that_is_away_delays_the_events_and_loses_no_end(
    served: Serve, me: Caller, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    mine = factories.submit(me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        assert events(exchange)[0][2]["queue"] == {"position": 0, "eta_seconds": None}
        await in_thread(
            lambda: generations.cancel(generation=mine, error_type="x", error_code="X", now=factories.NOW)
        )
        await exchange.task
        assert names(exchange)[-1] == "cancelled"

    served(scenario)


def test_a_message_that_is_no_progress_ends_no_subscription(served: Serve, me: Caller) -> None:
    mine = factories.generation_in(Status.RUNNING, me.account)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        broker = redis_client.connection()
        await until(lambda: broker.publish(progress_events.channel(), b"x") == 1)

        def told() -> bool:
            progress_events.publish(steps={mine.pk: Step(1, 4)})
            return "progress" in names(exchange)

        await until(told)
        exchange.leave()
        await exchange.task

    served(scenario)


@pytest.fixture(autouse=True)
def speed() -> None:
    """Show a worker that takes a second for an image, so that an estimate is a whole number."""
    worker_registry.publish(worker_name="test", seconds_per_image=1.0)
