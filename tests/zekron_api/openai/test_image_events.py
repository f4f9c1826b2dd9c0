"""`stream: true`: typed events, with each image last, or one error."""

import base64
import json
from functools import partial
from typing import Any

import pytest
from pytest_django import Settings

from billing.audit import audit
from tests import factories
from tests.assertions import openai_refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from tests.zekron_api.openai.conftest import Send
from tests.zekron_api.waiting.exchange import Exchange, Serve, complete_all, in_thread, until
from workers.lifecycle import cancellation
from workers.messaging import partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation
from zekron_api.waiting import event_streams, shutdown
from zekron_api.waiting.asgi_handler import WaitingRoom

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
CONTENT = b"a rough picture"
# What OpenAI's clients require of each event.
OF_ALL = {"type", "b64_json", "created_at", "size", "quality", "background", "output_format"}


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the rows often."""
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", 0.02)


def ask(app: WaitingRoom, who: Caller, **more: Any) -> Exchange:
    body = json.dumps({"prompt": "x", "size": "512x512", "stream": True, **more}).encode()
    return Exchange(app, who.key, body, path="/v1/images/generations")


def events(exchange: Exchange) -> list[tuple[str, dict[str, Any]]]:
    """Return name and data of each event. Comments are left out, and everything else is two lines."""
    found = []
    for frame in exchange.body.decode().split("\n\n")[:-1]:
        if not frame.startswith(":"):
            name, data = frame.split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


def has_events(exchange: Exchange, count: int) -> bool:
    return len(events(exchange)) == count


def the_rows() -> list[Generation]:
    return list(Generation.objects.order_by("pk"))


def run(generation: Generation) -> None:
    factories.claim(generation_id=generation.pk)


def publish(generation: Generation, index: int) -> None:
    image = PartialImage(index, index + 1, 128, 96, CONTENT)
    partial_images.publish(account_id=generation.account_id, generation_id=generation.pk, image=image)


def cancel(generation: Generation) -> None:
    cancellation.request(generation=generation, detail="by the test")


def test_partial_images_come_before_the_image(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me, partial_images=2)
        await until(lambda: exchange.status == 200)
        [mine] = await in_thread(the_rows)
        assert exchange.headers["location"] == f"/v1/generations/{mine.pk}"
        assert exchange.headers["content-type"] == "text/event-stream"
        await in_thread(lambda: run(mine))
        for index in range(2):
            await in_thread(partial(publish, mine, index))
            await until(partial(has_events, exchange, index + 1))
        running = await in_thread(lambda: Generation.objects.get(pk=mine.pk))
        await in_thread(lambda: factories.finish(running, now=None))
        await exchange.task
        first, second, (name, data) = events(exchange)
        for index, (partial_name, early) in enumerate((first, second)):
            assert partial_name == early["type"] == "image_generation.partial_image"
            assert set(early) == {*OF_ALL, "partial_image_index"}
            assert (early["partial_image_index"], early["output_format"]) == (index, "png")
            assert base64.b64decode(early["b64_json"]) == CONTENT
        assert name == data["type"] == "image_generation.completed"
        assert set(data) == {*OF_ALL, "usage", "id", "url", "seed", "expires_at"}
        assert (data["id"], data["usage"]["cost"]) == (mine.pk, "0.0254")
        assert b"[DONE]" not in exchange.body
        assert len(app.streams) == len(app.waiters) == app.streams.watched_count == 0
        assert await in_thread(lambda: [*audit()]) == []

    served(scenario)


def test_each_of_several_images_has_an_event_with_its_index(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me, n=3, seed=7)
        await until(lambda: exchange.status == 200)
        await until(lambda: app.streams.watched_count == 3)
        assert len(app.streams) == 1
        await in_thread(complete_all)
        await exchange.task
        data = sorted((data for _, data in events(exchange)), key=lambda data: data["image_index"])
        assert [each["image_index"] for each in data] == [0, 1, 2]
        assert [each["seed"] for each in data] == [7, 8, 9]
        assert len(app.streams) == len(app.waiters) == app.streams.watched_count == 0

    served(scenario)


def test_an_image_that_fails_beside_others_is_left_out(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me, n=2)
        await until(lambda: exchange.status == 200)
        first, _ = await in_thread(the_rows)
        await in_thread(lambda: cancel(first))
        await in_thread(complete_all)
        await exchange.task
        assert [(name, data["image_index"]) for name, data in events(exchange)] == [
            ("image_generation.completed", 1)
        ]

    served(scenario)


def test_a_request_without_an_image_ends_with_one_error(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me, n=2)
        await until(lambda: exchange.status == 200)
        for mine in await in_thread(the_rows):
            await in_thread(partial(cancel, mine))
        await exchange.task
        [(name, data)] = events(exchange)
        assert name == "error"
        assert set(data) == {"error"}
        assert data["error"]["code"] == "generation_cancelled"
        assert {"message", "type", "param"} <= set(data["error"])

    served(scenario)


def test_a_refusal_is_no_stream(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me, size="1x1")
        await exchange.task
        assert (exchange.status, exchange.headers["content-type"]) == (400, "application/json")
        assert json.loads(exchange.body)["error"]["code"] == "invalid_size"

    served(scenario)


def test_a_lost_stream_is_what_the_clients_own_retry_gets(served: Serve, me: Caller) -> None:
    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me)
        await until(lambda: exchange.status == 200)
        exchange.leave()
        await exchange.task
        body = json.dumps({"prompt": "x", "size": "512x512", "stream": True}).encode()
        retry = Exchange(app, me.key, body, path="/v1/images/generations", x_stainless_retry_count="1")
        await until(lambda: retry.status == 200)
        assert retry.headers["x-zekron-retry-attached"] == "true"
        await in_thread(complete_all)
        await retry.task
        assert [name for name, _ in events(retry)] == ["image_generation.completed"]
        assert len(await in_thread(the_rows)) == 1

    served(scenario)


def test_a_server_without_a_waiting_room_waits_in_its_thread(
    create: Send, engine: factories.StandInEngine
) -> None:
    reply = create(stream=True, n=2)
    names = [line for line in reply.content.decode().splitlines() if line.startswith("event: ")]
    assert names == ["event: image_generation.completed"] * 2


def test_a_stream_beyond_the_limit_is_refused_before_it_is_paid(
    served: Serve, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_streams, "MAX_STREAMS_PER_ACCOUNT", 1)

    async def scenario(app: WaitingRoom) -> None:
        first = ask(app, me)
        await until(lambda: first.status == 200 and len(app.streams) == 1)
        second = ask(app, me)
        await second.task
        assert second.status == 429
        assert json.loads(second.body)["error"]["code"] == "stream_limit_exceeded"
        assert len(await in_thread(the_rows)) == 1
        await in_thread(complete_all)
        await first.task

    served(scenario)


def test_a_server_that_stops_tells_where_the_image_will_be(
    served: Serve, me: Caller, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0

    async def scenario(app: WaitingRoom) -> None:
        exchange = ask(app, me)
        await until(lambda: exchange.status == 200)
        [mine] = await in_thread(the_rows)
        await in_thread(lambda: run(mine))
        shutdown.mark(exchange.scope)
        await exchange.task
        [(name, data)] = events(exchange)
        assert (name, data["error"]["code"]) == ("error", "generation_timeout")
        assert data["error"]["generation_id"] == mine.pk
        assert await in_thread(lambda: Generation.objects.get().client_lost_at) is not None

    served(scenario)


def test_the_events_of_an_edit_are_called_after_it(edit: Send, engine: factories.StandInEngine) -> None:
    reply = edit({"image": base64.b64decode(picture())}, stream="true")
    assert b"event: image_edit.completed\n" in reply.content
    assert openai_refusal(edit({"image": b"x"}, stream="true"))[0] == 400
