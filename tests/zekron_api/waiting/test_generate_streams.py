"""POST /v1/generate that asks for events: the same create and the same price, with the reply told event by event."""

import asyncio
import json
from typing import Any

import pytest
from django.db import OperationalError
from pytest_django import Settings

from billing import audit
from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from tests.zekron_api.waiting.test_event_streams import events, names
from workers.lifecycle import cancellation, deletion, watching
from workers.messaging import partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation, Status
from zekron_api.waiting import event_streams, half_close, shutdown
from zekron_api.waiting.asgi_handler import WaitingRoom

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
EVENTS = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the rows often."""
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", 0.02)


def ask(app: WaitingRoom, key: str, query: str = "", *, headers: Any = None, **more: Any) -> Exchange:
    body = json.dumps({"prompt": "x", "size": "1024x1024", **more}).encode()
    path = f"/v1/generate{query}"
    return Exchange(app, key, body, path=path, accept="text/event-stream", **(headers or {}))


def the_only_one() -> Generation:
    return Generation.objects.get()


async def told(exchange: Exchange) -> Exchange:
    """Return the exchange once its first event is there."""
    await until(lambda: exchange.task.done() or len(events(exchange)) > 0)
    assert events(exchange), exchange.body
    return exchange


def test_the_reply_tells_every_change_from_the_present_state_to_the_image(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key))
        mine = await in_thread(the_only_one)
        assert (exchange.status, exchange.headers["content-type"]) == (200, "text/event-stream")
        assert exchange.headers["location"] == f"/v1/generations/{mine.pk}"
        assert {"x-request-id", "x-ratelimit-remaining"} <= set(exchange.headers)
        assert "no-store" in exchange.headers["cache-control"]
        assert "content-length" not in exchange.headers
        assert exchange.body.startswith(b"retry: 2000\n\n")
        [(name, _, data)] = events(exchange)
        assert (name, data["status"], data["queue"]["position"]) == ("status", "queued", 0)
        await in_thread(complete_all)
        await exchange.task
        name, _, end = events(exchange)[-1]
        assert (name, end["id"], end["status"], end["cost"]) == ("completed", mine.pk, "completed", "0.0267")
        assert "b64_json" not in end["image"]
        assert len(app.streams) == len(app.waiters) == 0
        assert await in_thread(lambda: list(audit.audit())) == []

    served(scenario)


def test_the_last_event_has_the_bytes_for_those_who_ask(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key, "?include=b64_json"))
        await in_thread(complete_all)
        await exchange.task
        assert events(exchange)[-1][2]["image"]["b64_json"]

    served(scenario)


def test_partial_images_come_in_the_reply(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key, partial_images=1))
        mine = await in_thread(the_only_one)
        await in_thread(lambda: factories.claim(generation_id=mine.pk))
        image = PartialImage(0, 1, 128, 96, b"a rough picture")
        publish = partial_images.publish
        await in_thread(lambda: publish(account_id=mine.account_id, generation_id=mine.pk, image=image))
        await until(lambda: "partial_image" in names(exchange))
        exchange.leave()
        await exchange.task

    served(scenario)


@pytest.mark.parametrize(
    ("accept", "is_stream"),
    [
        ("text/event-stream", True),
        ("Text/Event-Stream", True),
        ("text/event-stream;charset=utf-8", False),
        ("text/event-stream, */*", True),
        ("text/event-stream, application/json;q=0.9", True),
        ("application/json, text/event-stream", False),
        ("application/json, text/event-stream;q=0.5", False),
        ("text/event-stream;q=0", False),
        ("text/event-stream;q=0, */*", False),
        ("text/*, */*;q=0.5", False),
        ("text/html", False),
        ("*/*", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_nobody_gets_events_unasked(me: Caller, accept: str, is_stream: bool) -> None:
    body = {"prompt": "a boat", "size": "512x512", "async": True}
    reply = me.post("/v1/generate", body, Accept=accept)
    expected = (200, "text/event-stream") if is_stream else (202, "application/json")
    assert (reply.status_code, reply["Content-Type"]) == expected


def test_a_refusal_is_an_ordinary_error_and_makes_nothing(me: Caller, settings: Settings) -> None:
    def send(who: Caller, path: str = "/v1/generate", **body: Any) -> tuple[int, str]:
        return refusal(who.post(path, {"prompt": "a boat", "size": "512x512", **body}, **EVENTS))

    assert send(me, prompt="") == (400, "missing_prompt")
    assert send(me, "/v1/generate?include=url") == (400, "invalid_parameter")
    assert refusal(me.post("/v1/generate?include=url", {"prompt": "a boat"})) == (400, "invalid_parameter")
    assert send(caller(balance_micros=100)) == (402, "insufficient_balance")
    settings.OPEN_GENERATIONS_LIMIT = 0
    assert send(me) == (429, "concurrency_limit_exceeded")
    assert not Generation.objects.exists()


def test_a_stream_without_a_place_is_refused_before_anything_is_held(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "MAX_STREAMS_PER_ACCOUNT", 1)

    async def scenario(app: WaitingRoom) -> None:
        first = await told(ask(app, me.key))
        refused = ask(app, me.key)
        await refused.task
        assert (refused.status, refused.headers["content-type"]) == (429, "application/json")
        assert json.loads(refused.body)["error"]["type"] == "stream_limit_exceeded"
        assert {"retry-after", "x-request-id", "x-ratelimit-remaining"} <= set(refused.headers)
        assert await in_thread(Generation.objects.count) == 1
        first.leave()
        await first.task

    served(scenario)


def test_an_accepted_stream_is_never_refused_for_its_place(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(app: WaitingRoom) -> None:
        # Others took the last place between the view and the stream.
        answers = iter([True, False])
        monkeypatch.setattr(app.streams, "has_place", lambda _: next(answers))
        exchange = await told(ask(app, me.key))
        assert exchange.status == 200
        exchange.leave()
        await exchange.task

    served(scenario)


@pytest.mark.parametrize("is_async", [False, True])
def test_it_counts_as_the_request_that_it_is(me: Caller, is_async: bool) -> None:
    headers = {**EVENTS, **({"Prefer": "respond-async, wait=5"} if is_async else {"Prefer": "wait=5"})}
    reply = me.post("/v1/generate", {"prompt": "a boat", "size": "512x512"}, **headers)
    assert reply["Content-Type"] == "text/event-stream"
    # A stream lasts until the end, so no time is applied.
    assert reply.get("Preference-Applied") == ("respond-async" if is_async else None)
    assert the_only_one().is_async == is_async


def test_it_outlasts_the_time_for_which_others_wait(served: Serve, me: Caller, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 0.01

    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key))
        waiting = Exchange(app, me.key)
        # The one that waits is cancelled meanwhile, because nobody waits for it any longer.
        await waiting.task
        assert waiting.status == 503
        await in_thread(complete_all)
        await exchange.task
        assert names(exchange)[-1] == "completed"

    served(scenario)


def test_a_replay_streams_too_and_is_told_the_end(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        key = {"idempotency_key": "order-7"}
        first = await told(ask(app, me.key, headers=key))
        second = await told(ask(app, me.key, headers=key))
        assert "idempotent-replayed" not in first.headers
        assert second.headers["idempotent-replayed"] == "true"
        assert second.headers["location"] == first.headers["location"]
        await in_thread(complete_all)
        await first.task
        await second.task
        assert names(first)[-1] == names(second)[-1] == "completed"
        third = ask(app, me.key, headers=key)
        await third.task
        [(name, version, _)] = events(third)
        assert name == "completed"
        # A client of the standard sends the request again after the end, and 204 stops it.
        fourth = ask(app, me.key, headers={**key, "last_event_id": str(version)})
        await fourth.task
        assert (fourth.status, fourth.body) == (204, b"")
        assert await in_thread(Generation.objects.count) == 1

    served(scenario)


def test_the_replay_of_a_deleted_one_is_410_and_never_a_new_charge(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        key = {"idempotency_key": "order-7"}
        first = await told(ask(app, me.key, headers=key))
        await in_thread(complete_all)
        await first.task
        mine = await in_thread(the_only_one)
        await in_thread(lambda: deletion.delete_generation(generation_id=mine.pk))
        again = ask(app, me.key, headers=key)
        await again.task
        assert (again.status, json.loads(again.body)["error"]["type"]) == (410, "expired")
        assert again.headers["idempotent-replayed"] == "true"
        assert await in_thread(Generation.objects.count) == 1

    served(scenario)


def test_a_cancelled_one_ends_its_stream_and_is_free(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key))
        mine = await in_thread(the_only_one)
        await in_thread(lambda: cancellation.request(generation=mine, detail="asked"))
        await exchange.task
        name, _, end = events(exchange)[-1]
        assert (name, end["error"]["type"], end["cost"]) == ("cancelled", "generation_cancelled", None)
        assert await in_thread(lambda: list(audit.audit())) == []

    served(scenario)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", ["leave", "half-close", "stop"])
def test_a_retry_of_a_client_that_was_lost_goes_on_with_its_stream(
    served: Serve, me: Caller, settings: Settings, way: str, is_async: bool
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    kind: dict[str, Any] = {"async": is_async}

    async def scenario(app: WaitingRoom) -> None:
        first = ask(app, me.key, headers={"x_stainless_retry_count": "0"}, **kind)
        closed = _half_close_of(first)
        await told(first)
        if way == "half-close":
            closed.set()
            await until_lost()
        elif way == "stop":
            shutdown.mark(first.scope)
            await first.task
        else:
            first.leave()
            await first.task
        retry = await told(ask(app, me.key, headers={"x_stainless_retry_count": "1"}, **kind))
        assert retry.headers["x-zekron-retry-attached"] == "true"
        first.leave()
        await first.task
        await in_thread(complete_all)
        await retry.task
        assert names(retry)[-1] == "completed"
        # One who got the end is not lost, and the one that left was noted once.
        assert await in_thread(lambda: the_only_one().client_lost_at) is None
        assert await in_thread(lambda: list(audit.audit())) == []

    async def until_lost() -> None:
        async with asyncio.timeout(30):
            while await in_thread(lambda: the_only_one().client_lost_at) is None:
                pass

    served(scenario)


def _half_close_of(exchange: Exchange) -> Any:
    """Return the event by which a connection tells that its client closed its sending side."""
    closed = half_close.event_of(exchange.scope)
    half_close.set_event(exchange.scope, closed)
    return closed


def test_a_server_that_stops_waits_for_it_as_for_those_who_wait(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = await told(ask(app, me.key))
        shutdown.mark(exchange.scope)
        await in_thread(complete_all)
        await exchange.task
        assert names(exchange)[-1] == "completed"

    served(scenario)


@pytest.mark.parametrize("is_stream", [True, False])
def test_a_database_that_goes_away_after_the_acceptance_leaves_the_id(
    me: Caller, monkeypatch: pytest.MonkeyPatch, is_stream: bool
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OperationalError

    monkeypatch.setattr(watching, "state_of", fail)
    body = {"prompt": "a boat", "size": "512x512", "async": not is_stream}
    reply = me.post("/v1/generate", body, **(EVENTS if is_stream else {}))
    assert refusal(reply) == (503, "service_unavailable")
    mine = the_only_one()
    assert mine.status == Status.QUEUED
    assert reply.json()["error"]["generation_id"] == mine.pk
    assert reply["Location"] == f"/v1/generations/{mine.pk}"
