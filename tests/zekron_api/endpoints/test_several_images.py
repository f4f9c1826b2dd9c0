"""A request for several images: a row, a hold and an end for each, and one reply for all."""

import base64
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from billing.audit import audit as audit_money
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller, caller
from workers.audit.rows import find_disagreements as audit_work
from workers.engine.interface import ImageOrder, OutOfDeviceMemory
from workers.lifecycle import idempotency
from workers.messaging import enqueue, worker_registry
from workers.models import Generation, SourceImage

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"prompt": "a boat", "size": "512x512", "n": 3}


def send(me: Caller, key: str = "k-1", **body: Any) -> Any:
    """Send the request under this key."""
    return me.post("/v1/generate", {**BODY, **body}, **{"Idempotency-Key": key})


@pytest.fixture
def broken_seeds(engine: factories.StandInEngine, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the seeds, none at first, with which the engine makes no picture."""
    broken: set[int] = set()
    make = engine.generate

    def generate(orders: Sequence[ImageOrder], **options: Any) -> Any:
        if any(order.seed in broken for order in orders):
            raise OutOfDeviceMemory("too large")
        return make(orders, **options)

    monkeypatch.setattr(engine, "generate", generate)
    return broken


def test_each_image_has_a_row_a_seed_and_a_price_of_its_own(
    me: Caller, engine: factories.StandInEngine
) -> None:
    reply = send(me, seed=2**32 - 2)
    data = reply.json()["data"]
    assert [made["index"] for made in data["images"]] == [0, 1, 2]
    assert [made["seed"] for made in data["images"]] == [2**32 - 2, 2**32 - 1, 0]
    assert sorted(order.seed for order in engine.orders) == [0, 2**32 - 2, 2**32 - 1]
    assert len({made["token"] for made in data["images"]}) == 3
    first = data["images"][0]
    assert {name: data[name] for name in ("id", "token", "seed", "image", "cost")} == {
        name: first[name] for name in ("id", "token", "seed", "image", "cost")
    }
    for made in data["images"]:
        content = me.get(f"/v1/images/{made['token']}").content
        assert base64.b64decode(made["image"]["b64_json"]) == content
    assert data["failed"] == 0
    assert Decimal(data["total_cost"]) == 3 * Decimal(data["cost"])
    assert reply["X-Zekron-Cost"] == data["total_cost"]
    assert reply["X-Zekron-Remaining-Balance"] == data["remaining_balance"]
    assert Decimal(data["remaining_balance"]) == 10 - Decimal(data["total_cost"])
    assert me.get("/v1/balance").json()["data"]["total_generations"] == 3
    assert [*audit_money(), *audit_work()] == []


def test_one_image_has_no_list(me: Caller, engine: factories.StandInEngine) -> None:
    reply = me.generate(n=1)
    assert not {"images", "total_cost", "failed"} & set(reply.json()["data"])
    assert reply["X-Zekron-Cost"] == reply.json()["data"]["cost"]
    assert Generation.objects.get().group_id is None


def test_an_edit_has_its_own_sources_for_each_image(me: Caller, engine: factories.StandInEngine) -> None:
    data = send(me, images=[{"data": picture()}] * 2).json()["data"]
    assert len(data["images"]) == 3
    assert [len(order.sources) for order in engine.orders] == [2, 2, 2]
    assert len(set(SourceImage.objects.values_list("image_id", flat=True))) == 6
    assert not SourceImage.objects.filter(image__wrapped_key__isnull=False).exists()


def test_only_images_that_were_made_are_charged(me: Caller, broken_seeds: set[int]) -> None:
    broken_seeds.add(5)
    data = send(me, seed=5).json()["data"]
    assert ([made["index"] for made in data["images"]], data["failed"]) == ([1, 2], 1)
    assert data["id"] == data["images"][0]["id"]
    assert Decimal(data["total_cost"]) == 2 * Decimal(data["cost"])
    me.account.refresh_from_db()
    assert (me.account.settlement_count, me.account.reserved_micros) == (2, 0)
    assert [*audit_money(), *audit_work()] == []


def test_a_key_is_free_again_only_if_all_images_failed(me: Caller, broken_seeds: set[int]) -> None:
    broken_seeds.update({5, 6})
    first, again = send(me, seed=5), send(me, seed=5)
    assert again["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()
    assert Generation.objects.count() == 3
    broken_seeds.update({9, 10, 11})
    assert refusal(send(me, "k-2", seed=9)) == (500, "generation_failed")
    broken_seeds.clear()
    assert send(me, "k-2", seed=9).status_code == 200
    assert Generation.objects.count() == 9


def test_a_first_image_that_failed_does_not_free_the_key_in_the_statement(
    me: Caller, broken_seeds: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two equal requests may both look before either is accepted, and then the statement decides."""
    broken_seeds.add(5)
    first = send(me, seed=5)
    real = idempotency.find
    looks = iter([None])
    monkeypatch.setattr(idempotency, "find", lambda **named: next(looks, ...) and real(**named))
    assert send(me, seed=5).json() == first.json()
    assert Generation.objects.count() == 3


def test_all_images_are_held_or_none(idle_worker: None) -> None:
    poor = caller(balance_micros=60_000)
    assert refusal(send(poor)) == (402, "insufficient_balance")
    assert not Generation.objects.exists()
    poor.account.refresh_from_db()
    assert poor.account.reserved_micros == 0


def test_each_image_counts_in_the_limit_of_open_generations(
    me: Caller, idle_worker: None, settings: Settings
) -> None:
    assert me.generate(**{**BODY, "n": 3, "async": True}).status_code == 202
    settings.QUEUE_LIMIT = 5
    assert refusal(me.generate(**{**BODY, "n": 3, "async": True})) == (429, "queue_limit_exceeded")
    settings.OPEN_GENERATIONS_LIMIT = 2
    response = me.generate(n=3)
    assert refusal(response) == (400, "invalid_parameter")
    assert "n must be at most 2" in response.json()["error"]["message"]
    assert Generation.objects.count() == 3


def test_a_reply_at_the_deadline_lists_all_ids(
    me: Caller, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    worker_registry.publish(worker_name="test")
    running: list[Any] = []

    def claim_first(*, generation_id: int) -> None:
        if not running:
            running.append(factories.claim(generation_id=generation_id))

    monkeypatch.setattr(enqueue, "send", claim_first)
    response = send(me)
    assert refusal(response) == (504, "generation_timeout")
    ids = list(Generation.objects.order_by("pk").values_list("pk", flat=True))
    error = response.json()["error"]
    assert (error["generation_id"], error["generation_ids"]) == (ids[0], ids)
    # Those that were still queued are cancelled and free, and the key still stands for the one that runs.
    assert sorted(Generation.objects.values_list("status", flat=True)) == [
        "cancelled",
        "cancelled",
        "running",
    ]
    factories.finish(running[0], now=None)
    data = send(me).json()["data"]
    assert (len(data["images"]), data["failed"]) == (1, 2)


def test_an_asynchronous_request_tells_its_group(me: Caller, idle_worker: None) -> None:
    reply = me.generate(**{**BODY, "async": True})
    data = reply.json()["data"]
    ids = list(Generation.objects.order_by("pk").values_list("pk", flat=True))
    assert (reply.status_code, data["group"], data["index"]) == (202, ids, 0)
    last = me.get(f"/v1/generations/{ids[2]}").json()["data"]
    assert (last["group"], last["index"]) == (ids, 2)


def test_a_stream_of_events_is_of_one_image(me: Caller, idle_worker: None) -> None:
    response = me.post("/v1/generate", BODY, Accept="text/event-stream")
    assert refusal(response) == (400, "invalid_parameter")
    assert not Generation.objects.exists()


def test_one_of_several_images_is_cancelled_alone(me: Caller, idle_worker: None) -> None:
    ids = me.generate(**{**BODY, "async": True}).json()["data"]["group"]
    assert me.post(f"/v1/generations/{ids[1]}/cancel", {}).status_code == 200
    assert list(Generation.objects.order_by("pk").values_list("status", flat=True)) == [
        "queued",
        "cancelled",
        "queued",
    ]
