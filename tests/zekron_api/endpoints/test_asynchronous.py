"""POST /v1/generate without waiting: 202 with the generation, and the same image, price and limits afterwards."""

from typing import Any

import pytest
from pytest_django import Settings

from billing import audit
from tests import factories, processes
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller, caller
from workers.audit import rows
from workers.lifecycle import generations, recovery
from workers.messaging import enqueue
from workers.models import Generation, IdempotencyKey, Status

pytestmark = pytest.mark.django_db(transaction=True)
ASYNC = {"Prefer": "respond-async"}
_BAD_TIMES: list[Any] = [9, 86_401, 60.5, "60", True, -1, []]
_BAD_FLAGS: list[Any] = ["yes", 1, 0, [], {}]


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker is there, and none is told."""
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)


def _send(me: Caller, headers: dict[str, str] | None = None, **body: Any) -> Any:
    return me.post("/v1/generate", {"prompt": "a boat", "size": "512x512", **body}, **(headers or {}))


def _finish(generation_id: int) -> None:
    factories.finish(factories.claim(generation_id=generation_id), now=None)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("headers", "body", "applied"),
    [(ASYNC, {}, "respond-async"), ({}, {"async": True}, None), (ASYNC, {"async": True}, "respond-async")],
    ids=["header", "body", "both"],
)
def test_a_client_that_does_not_wait_gets_202_and_finds_its_image_later(
    me: Caller, headers: dict[str, str], body: dict[str, Any], applied: str | None
) -> None:
    accepted = _send(me, headers, **body)
    assert accepted.status_code == 202
    data = accepted.json()["data"]
    assert (data["status"], data["cost"], data["quote"], data["reserved"]) == (
        "queued",
        None,
        "0.0254",
        "0.0254",
    )
    assert accepted["Location"] == f"/v1/generations/{data['id']}"
    assert 1 <= int(accepted["Retry-After"]) <= 60
    assert accepted.get("Preference-Applied") == applied
    _finish(data["id"])
    ended = me.get(accepted["Location"]).json()["data"]
    assert (ended["status"], ended["cost"]) == ("completed", "0.0254")
    assert me.get(f"/v1/images/{ended['token']}").status_code == 200
    assert [*audit.audit(), *rows.find_disagreements()] == []


@pytest.mark.usefixtures("engine")
def test_nobody_gets_202_unasked_and_the_body_wins_over_the_header(me: Caller) -> None:
    assert _send(me).status_code == 200
    assert _send(me, ASYNC, **{"async": False}).status_code == 200
    assert _send(me, {"Prefer": "handling=lenient, wait"}).status_code == 200


@pytest.mark.usefixtures("engine")
def test_what_ends_within_the_time_to_wait_is_replied_as_to_a_client_that_waits(me: Caller) -> None:
    reply = _send(me, {"Prefer": "respond-async, wait=30"})
    assert (reply.status_code, reply["Preference-Applied"]) == (200, "respond-async, wait=30")
    assert reply.json()["data"]["image"]["b64_json"]


@pytest.mark.usefixtures("idle_worker")
def test_a_time_to_wait_alone_shortens_the_wait_of_a_synchronous_request(me: Caller) -> None:
    reply = _send(me, {"Prefer": "wait=1"})
    assert refusal(reply) == (503, "service_busy")
    assert Generation.objects.get().status == Status.CANCELLED


@pytest.mark.usefixtures("idle_worker")
def test_asynchronous_work_counts_apart_and_leaves_the_five_free(me: Caller, settings: Settings) -> None:
    settings.QUEUE_LIMIT, settings.OPEN_GENERATIONS_LIMIT = 3, 1
    assert [_send(me, ASYNC).status_code for _ in range(3)] == [202] * 3
    refused = _send(me, ASYNC)
    assert refusal(refused) == (429, "queue_limit_exceeded")
    settings.SYNC_WAIT_SECONDS = 0
    assert refusal(_send(me)) == (503, "service_busy")
    me.account.refresh_from_db()
    assert (me.account.open_hold_count, me.account.open_async_count) == (3, 3)


@pytest.mark.usefixtures("quiet")
def test_each_asynchronous_request_holds_its_price_so_money_bounds_the_queue() -> None:
    poor = caller(balance_micros=2 * 25_400)
    assert [_send(poor, ASYNC).status_code for _ in range(2)] == [202] * 2
    assert refusal(_send(poor, ASYNC)) == (402, "insufficient_balance")
    poor.account.refresh_from_db()
    assert (poor.account.reserved_micros, poor.account.open_async_count) == (50_800, 2)


@pytest.mark.usefixtures("quiet")
def test_asynchronous_work_waits_for_a_worker_that_is_not_there_yet(me: Caller) -> None:
    assert refusal(_send(me)) == (503, "service_busy")
    assert _send(me, ASYNC).status_code == 202


@pytest.mark.usefixtures("quiet")
def test_what_waits_for_a_worker_is_kept_by_the_sweep_and_made_once_one_is_there(me: Caller) -> None:
    accepted = _send(me, ASYNC, queue_ttl=60)
    for _ in range(3):
        recovery.sweep()
    waiting = me.get(accepted["Location"]).json()["data"]
    assert (waiting["status"], waiting["queue"]) == ("queued", {"position": 0, "eta_seconds": None})
    with processes.worker():
        processes.wait_until(lambda: me.get(accepted["Location"]).json()["data"]["status"] == "completed")


@pytest.mark.usefixtures("quiet")
def test_queue_ttl_is_the_time_in_which_a_worker_must_begin(me: Caller) -> None:
    data = _send(me, ASYNC, queue_ttl=10).json()["data"]
    row = Generation.objects.get()
    assert row.queue_until is not None
    assert (row.queue_until - row.created_at).total_seconds() == 10
    Generation.objects.update(queue_until=row.created_at)
    recovery.sweep()
    ended = me.get(f"/v1/generations/{data['id']}").json()["data"]
    assert (ended["status"], ended["reserved"], ended["error"]["type"]) == (
        "cancelled",
        "0.0000",
        "queue_ttl_exceeded",
    )


@pytest.mark.parametrize(
    "body",
    [
        {"queue_ttl": 60},
        {"async": False, "queue_ttl": 60},
        *[{"async": True, "queue_ttl": value} for value in _BAD_TIMES],
        *[{"async": value} for value in _BAD_FLAGS],
    ],
    ids=str,
)
def test_a_field_that_cannot_be_honoured_is_refused_by_name(me: Caller, body: dict[str, Any]) -> None:
    refused = _send(me, **body)
    assert refusal(refused) == (400, "invalid_parameter")
    assert ("queue_ttl" if "queue_ttl" in body else "async") in refused.json()["error"]["message"]
    assert not Generation.objects.exists()


@pytest.mark.usefixtures("quiet")
def test_sources_live_as_long_as_their_generation_may_wait(me: Caller) -> None:
    assert _send(me, ASYNC, images=[{"data": picture()}], queue_ttl=86_400).status_code == 202
    row = Generation.objects.get()
    assert row.sources.get().image.expires_at > row.deadline_at


@pytest.mark.usefixtures("quiet")
def test_a_replay_of_an_open_one_attaches_in_the_way_in_which_it_is_asked(
    me: Caller, settings: Settings
) -> None:
    key = {"Idempotency-Key": "order-7"}
    first = _send(me, {**ASYNC, **key}).json()["data"]["id"]
    again = _send(me, {**ASYNC, **key})
    assert (again.status_code, again["Idempotent-Replayed"]) == (202, "true")
    settings.SYNC_WAIT_SECONDS = 1
    waiting = _send(me, key)
    assert refusal(waiting) == (504, "generation_timeout")
    assert waiting["Location"] == f"/v1/generations/{first}"
    # A client that waits in vain cancels nothing that was to be looked up later.
    assert Generation.objects.get().status == Status.QUEUED
    _finish(first)
    assert _send(me, key).json()["data"]["id"] == first
    assert _send(me, {**ASYNC, **key}).status_code == 200
    assert (Generation.objects.count(), IdempotencyKey.objects.count()) == (1, 1)


@pytest.mark.usefixtures("quiet")
def test_a_request_that_failed_is_told_as_to_a_client_that_waits(me: Caller) -> None:
    key = {"Idempotency-Key": "order-7", "Prefer": "respond-async, wait=0"}
    generation_id = _send(me, key).json()["data"]["id"]
    running = factories.claim(generation_id=generation_id)
    generations.fail(generation=running, **factories.ERROR)
    told = me.get(f"/v1/generations/{generation_id}").json()["data"]
    assert (told["status"], told["error"]["type"]) == ("failed", "generation_failed")
    # Its key is free, so the same request is a new one.
    assert _send(me, key).json()["data"]["id"] != generation_id
