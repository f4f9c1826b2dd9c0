"""The waiting room, driven as a server drives it: many clients wait, few threads work."""

import asyncio
import json
import threading

import pytest
from pytest_django import Settings

from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.messaging import background, completion_events, counters, redis_client
from workers.messaging.completion_events import publish_ended
from workers.models import Generation, Status
from zekron_api.waiting import completion_waiters, event_streams
from zekron_api.waiting.asgi_handler import THREAD_COUNT, WaitingRoom
from zekron_api.waiting.completion_waiters import CompletionWaiters
from zekron_api.waiting.event_streams import EventStreams

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]


def test_a_parked_client_gets_its_reply_when_its_generation_ends(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    # Neither the poll nor the deadline wakes it.
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)
    settings.SYNC_WAIT_SECONDS = 3600

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


def test_a_parked_client_of_several_images_waits_for_all_of_them(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
    settings: Settings,
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)
    settings.SYNC_WAIT_SECONDS = 3600
    body = json.dumps({"prompt": "a boat", "size": "512x512", "n": 2}).encode()

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key, body)
        await until(lambda: len(app.waiters) == 2)
        first = await in_thread(lambda: Generation.objects.order_by("pk")[0].pk)
        app.waiters.notify(first)
        await asyncio.sleep(0.1)
        assert not exchange.task.done()
        await in_thread(complete_all)
        await exchange.task
        assert len(json.loads(exchange.body)["data"]["images"]) == 2
        assert len(app.waiters) == 0

    served(scenario)


def test_a_lost_message_is_made_up_for_by_looking_at_the_row(
    served: Serve,
    me: Caller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.05)
    monkeypatch.setattr("workers.messaging.completion_events.publish_ended", lambda *, generation_id: None)

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await exchange.task
        assert exchange.status == 200

    served(scenario)


def test_a_client_that_leaves_frees_its_place_at_once_and_its_generation_goes_on(
    served: Serve, me: Caller
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        exchange.leave()
        await exchange.task
        assert (len(app.waiters), exchange.status) == (0, 0)
        generation = await in_thread(Generation.objects.get)
        assert generation.status == Status.QUEUED

    served(scenario)


def test_an_end_that_comes_before_the_wait_is_not_missed(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)

    async def scenario(app: WaitingRoom) -> None:
        app.waiters.notify(7)
        assert app.waiters.add(7).done()
        assert not app.waiters.add(8).done()

    served(scenario)


def test_a_server_that_stops_as_soon_as_it_has_started_does_stop(
    served: Serve,
) -> None:
    async def scenario(_app: WaitingRoom) -> None:
        return

    async def all_stop() -> None:
        async with asyncio.timeout(60):
            for _ in range(5):
                await asyncio.to_thread(served, scenario)

    asyncio.run(all_stop())


def test_an_announcement_reaches_the_waiter_over_redis(
    served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)

    async def scenario(app: WaitingRoom) -> None:
        future = app.waiters.add(12)

        def announced() -> bool:
            publish_ended(generation_id=12)
            return future.done()

        await until(announced)

    served(scenario)


def test_a_message_that_is_no_id_ends_no_subscription(served: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 3600)
    odd: list[str | bytes] = ["x", "", "-1", "1.5", "\u0661", b"\xff\xfe", "9" * 5000]

    async def scenario(app: WaitingRoom) -> None:
        future = app.waiters.add(12)
        broker = redis_client.connection()
        await until(lambda: broker.publish(completion_events.channel(), odd[0]) == 1)
        for message in odd:
            assert broker.publish(completion_events.channel(), message) == 1
        publish_ended(generation_id=12)
        await future

    before = counters.read_background_error_counts().get("completion listener", 0)
    served(scenario)
    assert counters.read_background_error_counts()["completion listener"] >= before + len(odd)


@pytest.mark.parametrize("failure", [LookupError("unexpected"), asyncio.CancelledError()], ids=repr)
def test_neither_the_listener_nor_the_poll_ends_by_an_error_that_nobody_expected(
    failure: BaseException, served: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(background, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", 0.01)
    failures = {"listener": [failure], "poll": [failure], "streams": [failure]}
    really_receive, really_check = CompletionWaiters._receive, CompletionWaiters._check_rows
    goes_on: set[str] = set()

    async def receive(self: CompletionWaiters) -> None:
        if failures["listener"]:
            raise failures["listener"].pop()
        goes_on.add("listener")
        await really_receive(self)

    async def check(self: CompletionWaiters) -> None:
        if failures["poll"]:
            raise failures["poll"].pop()
        goes_on.add("poll")
        await really_check(self)

    monkeypatch.setattr(CompletionWaiters, "_receive", receive)

    async def look(self: EventStreams) -> None:
        if failures["streams"]:
            raise failures["streams"].pop()
        goes_on.add("streams")

    monkeypatch.setattr(EventStreams, "_look", look)
    monkeypatch.setattr(CompletionWaiters, "_check_rows", check)

    async def scenario(_app: WaitingRoom) -> None:
        await until(lambda: goes_on == {"listener", "poll", "streams"})

    served(scenario)


def test_at_the_deadline_a_parked_client_is_told(served: Serve, me: Caller, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 0

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await exchange.task
        assert exchange.status == 503
        assert json.loads(exchange.body)["error"]["type"] == "service_busy"

    served(scenario)


@pytest.mark.slow
def test_two_hundred_clients_wait_without_a_thread_or_a_connection_each(
    served: Serve, me: Caller, settings: Settings
) -> None:
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


def test_a_body_over_the_limit_is_refused_in_its_turn_and_never_kept_whole(
    served: Serve, me: Caller, settings: Settings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000

    async def scenario(app: WaitingRoom) -> None:
        known, unknown = Exchange(app, me.key, b"x" * 5000), Exchange(app, "zk_unknown", b"x" * 5000)
        await asyncio.gather(known.task, unknown.task)
        assert (known.status, unknown.status) == (413, 401)

    served(scenario)


def test_a_redis_that_is_away_stops_no_reply(
    served: Serve,
    me: Caller,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(completion_waiters, "POLL_SECONDS", 0.05)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    async def scenario(app: WaitingRoom) -> None:
        exchange = Exchange(app, me.key)
        await until(lambda: len(app.waiters) == 1)
        await in_thread(complete_all)
        await exchange.task
        assert exchange.status == 200

    served(scenario)
