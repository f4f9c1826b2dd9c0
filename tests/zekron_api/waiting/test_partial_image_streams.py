"""Partial images in streams of events: to the owner, once each, and none of what is cancelled or has ended."""

import asyncio
import base64
from typing import Any

import pytest

from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import Serve, in_thread, until
from tests.zekron_api.waiting.test_event_streams import events, names, watch
from workers import catalogue
from workers.lifecycle import cancellation, partials, watching
from workers.messaging import partial_images, progress_events
from workers.messaging.partial_images import PartialImage
from workers.messaging.progress_events import Step
from workers.models import Generation
from zekron_api.waiting import event_streams
from zekron_api.waiting.asgi_handler import WaitingRoom
from zekron_api.waiting.event_stream import EventStreamResponse, Stream, Watched

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
CONTENT = b"a rough picture"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the rows often."""
    monkeypatch.setattr(event_streams, "LOOK_SECONDS", 0.02)


def running(who: Caller, count: int = 3) -> Generation:
    parameters = {"width": 512, "height": 512, "seed": 1, **({"partial_images": count} if count else {})}
    queued = factories.submit(who.account, parameters=[parameters])
    return factories.claim(generation_id=queued.pk, now=factories.NOW)


def publish(generation: Generation, index: int, content: bytes = CONTENT) -> None:
    image = PartialImage(index, index + 1, 128, 96, content)
    partial_images.publish(account_id=generation.account_id, generation_id=generation.pk, image=image)


def partials_in(exchange: Any) -> list[dict[str, Any]]:
    return [data for name, _, data in events(exchange) if name == "partial_image"]


def test_a_partial_image_that_is_announced_while_it_is_read_is_sent_once(me: Caller) -> None:
    watched = Watched(watching.state_of(running(me)), None, build_end=lambda: None, partial_count=1)
    response = EventStreamResponse(account_id=me.account.pk, watched=[watched])

    async def scenario() -> None:
        stream = Stream(response, watched, scope={})
        assert stream.take_partial() == 0
        stream.note_partial(0)
        stream.note_partial_told(0)
        assert stream.take_partial() is None

    asyncio.run(scenario())


def test_the_owner_gets_each_partial_image_once_and_then_the_end(served: Serve, me: Caller) -> None:
    mine = running(me)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        await in_thread(lambda: publish(mine, 0))
        await until(lambda: len(partials_in(exchange)) == 1)
        # A second attempt makes the same again.
        await in_thread(lambda: publish(mine, 0))
        await in_thread(lambda: publish(mine, 1))
        await until(lambda: len(partials_in(exchange)) == 2)
        assert partials_in(exchange)[1] == {
            "index": 1,
            "b64_json": base64.b64encode(CONTENT).decode(),
            "mime_type": "image/png",
            "width": 128,
            "height": 96,
            "step": 2,
        }
        await in_thread(lambda: factories.finish(mine))
        await exchange.task
        assert names(exchange) == ["status", "partial_image", "partial_image", "completed"]
        versions = [version for _, version, _ in events(exchange)]
        assert versions == sorted(versions)

    served(scenario)
    mine.refresh_from_db()
    assert mine.are_partials_delivered


def test_one_who_comes_late_gets_those_that_are_there(served: Serve, me: Caller) -> None:
    mine = running(me)
    publish(mine, 0)
    publish(mine, 1)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: len(partials_in(exchange)) == 2)
        assert [data["index"] for data in partials_in(exchange)] == [0, 1]
        exchange.leave()
        await exchange.task

    served(scenario)


@pytest.mark.parametrize("is_late", [True, False])
def test_a_generation_that_is_to_be_cancelled_sends_none_any_more(
    served: Serve, me: Caller, is_late: bool
) -> None:
    mine = running(me)

    async def scenario(app: WaitingRoom) -> None:
        if not is_late:
            exchange = watch(app, me.key, mine)
            await until(lambda: names(exchange) == ["status"])
        await in_thread(lambda: cancellation.request(generation=mine, detail="asked", now=factories.NOW))
        await in_thread(lambda: publish(mine, 0))
        if is_late:
            exchange = watch(app, me.key, mine)
        await in_thread(lambda: cancellation.end_requested(generation=mine, now=factories.NOW))
        await exchange.task
        assert "partial_image" not in names(exchange)
        assert names(exchange)[-1] == "cancelled"

    served(scenario)
    mine.refresh_from_db()
    assert not mine.are_partials_delivered


def test_a_generation_that_has_ended_sends_none(served: Serve, me: Caller) -> None:
    mine = running(me)
    publish(mine, 0)
    factories.finish(mine)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await exchange.task
        assert names(exchange) == ["completed"]

    served(scenario)


def test_a_request_without_partial_images_gets_none_and_a_foreign_one_is_not_told(
    served: Serve, me: Caller, stranger: Caller
) -> None:
    plain, foreign = running(me, 0), running(stranger)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, plain)
        await until(lambda: names(exchange) == ["status"])
        # One who may write to Redis cannot show the image of another account.
        await in_thread(lambda: publish(plain, 0))
        await in_thread(lambda: publish(foreign, 0))
        refused = watch(app, me.key, foreign)
        await refused.task
        assert refused.status == 404
        await in_thread(lambda: progress_events.publish(steps={plain.pk: Step(3, 4)}))
        await until(lambda: "progress" in names(exchange))
        assert "partial_image" not in names(exchange)
        exchange.leave()
        await exchange.task

    served(scenario)


def test_an_index_beyond_the_asked_ones_is_ignored(served: Serve, me: Caller) -> None:
    mine = running(me, 1)

    async def scenario(app: WaitingRoom) -> None:
        exchange = watch(app, me.key, mine)
        await until(lambda: names(exchange) == ["status"])
        await in_thread(lambda: publish(mine, 2))
        await in_thread(lambda: publish(mine, 0))
        await until(lambda: len(partials_in(exchange)) == 1)
        assert partials_in(exchange)[0]["index"] == 0
        exchange.leave()
        await exchange.task

    served(scenario)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_number_is_kept_with_the_generation(
    me: Caller, engine: factories.StandInEngine, count: int
) -> None:
    reply = me.generate(partial_images=count)
    assert reply.status_code == 200
    row = Generation.objects.get(pk=reply.json()["data"]["id"])
    assert row.parameters["partial_images"] == count


@pytest.mark.parametrize("body", [{}, {"partial_images": 0}, {"partial_images": None}])
def test_none_leave_the_parameters_as_they_were(
    me: Caller, engine: factories.StandInEngine, body: dict[str, Any]
) -> None:
    row = Generation.objects.get(pk=me.generate(**body).json()["data"]["id"])
    assert set(row.parameters) == {"width", "height", "seed", "prompt_tokens"}


@pytest.mark.parametrize("value", [-1, 4, 1.5, "2", True, [], {}])
def test_any_other_number_is_refused(me: Caller, value: Any) -> None:
    reply = me.generate(partial_images=value)
    assert reply.status_code == 400
    assert reply.json()["error"]["type"] == "invalid_parameter"
    assert "partial_images must be a whole number from 0 to 3." in reply.json()["error"]["message"]


def test_a_model_that_makes_none_refuses_them_by_its_name_and_serves_all_else(
    me: Caller, engine: factories.StandInEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "LATENT_ADAPTERS", ())
    for reply in (me.generate(partial_images=1), me.post("/v1/quote", {"prompt": "x", "partial_images": 1})):
        assert refusal(reply) == (400, "unsupported_parameter")
        assert "zekron-image-1 makes no partial images" in reply.json()["error"]["message"]
    assert not Generation.objects.exists()
    assert me.generate(partial_images=0).status_code == 200


def test_a_suspended_account_is_refused_partial_images_alone(
    me: Caller, engine: factories.StandInEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partials, "MAX_CANCELLED", 0)
    row = running(me)
    assert partials.mark_delivered(account_id=me.account.pk, generation_id=row.pk)
    cancellation.request(generation=row, detail="asked")
    assert cancellation.end_requested(generation=row)
    refused = me.generate(partial_images=1)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "partials_suspended")
    assert me.generate().status_code == 200
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


def test_another_number_under_the_same_key_is_another_request(
    me: Caller, engine: factories.StandInEngine
) -> None:
    def post(**body: Any) -> int:
        request = {"prompt": "a boat", "size": "512x512", **body}
        return int(me.post("/v1/generate", request, **{"Idempotency-Key": "k"}).status_code)

    assert post() == 200
    assert post(partial_images=0) == 200
    assert post(partial_images=1) == 422
