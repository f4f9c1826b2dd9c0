"""POST /v1/generations/{id}/cancel and the two DELETEs: every status, every owner, and the money."""

import pytest

from billing import audit
from tests import factories
from tests.assertions import refusal
from tests.zekron_api.callers import Caller
from workers.audit import rows
from workers.lifecycle import cancellation, image_tokens, partials
from workers.messaging import enqueue, worker_registry
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
STATUSES = {
    Status.QUEUED: 200,
    Status.RUNNING: 202,
    Status.COMPLETED: 409,
    Status.FAILED: 409,
    Status.CANCELLED: 200,
}


@pytest.mark.parametrize("status", STATUSES)
def test_cancelling_replies_with_the_generation_in_every_status(me: Caller, status: Status) -> None:
    generation = factories.generation_in(status, me.account)
    for _ in range(2):
        reply = me.post(f"/v1/generations/{generation.pk}/cancel", {})
        assert reply.status_code == STATUSES[status]
        data = reply.json()["data"]
        assert data["id"] == generation.pk
        assert data["cancel_requested"] == (status == Status.RUNNING)
        assert data["status"] == (Status.CANCELLED if status == Status.QUEUED else status)
    if reply.status_code == 409:
        assert reply.json()["error"]["type"] == "already_ended"
        assert reply["x-should-retry"] == "false"
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_a_generation_without_an_image_costs_nothing_once_it_is_cancelled(me: Caller) -> None:
    running = factories.generation_in(Status.RUNNING, me.account)
    me.post(f"/v1/generations/{running.pk}/cancel", {})
    cancellation.end_requested(generation=running)
    told = me.get(f"/v1/generations/{running.pk}").json()["data"]
    assert (told["status"], told["cost"], told["reserved"], told["error"]["type"]) == (
        "cancelled",
        None,
        "0.0000",
        "generation_cancelled",
    )
    assert me.get("/v1/balance").json()["data"]["balance"] == "10.0000"


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_cancelling_what_has_ended_changes_nothing_and_no_money(me: Caller, status: Status) -> None:
    ended = factories.generation_in(status, me.account)
    me.account.refresh_from_db()
    before = me.account.balance_micros, me.account.reserved_micros, me.account.spent_micros
    row = Generation.objects.filter(pk=ended.pk).values().get()
    told = me.post(f"/v1/generations/{ended.pk}/cancel", {}).json()
    assert told["data"]["status"] == status
    assert Generation.objects.filter(pk=ended.pk).values().get() == row
    me.account.refresh_from_db()
    assert (me.account.balance_micros, me.account.reserved_micros, me.account.spent_micros) == before


def test_cancelling_after_a_partial_image_was_delivered_is_free_but_counts(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partials, "MAX_CANCELLED", 1)
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)
    body = {"prompt": "a boat", "size": "512x512", "partial_images": 1, "async": True}
    for count in range(2):
        assert me.post("/v1/generate", body).status_code == 202, count
        running = factories.claim(generation_id=Generation.objects.latest("pk").pk)
        assert partials.mark_delivered(account_id=me.account.pk, generation_id=running.pk)
        assert me.post(f"/v1/generations/{running.pk}/cancel", {}).status_code == 202
        assert cancellation.end_requested(generation=running)
    assert refusal(me.post("/v1/generate", body)) == (403, "partials_suspended")
    assert me.get("/v1/balance").json()["data"]["balance"] == "10.0000"
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_a_client_that_waits_is_told_that_its_generation_was_cancelled(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel(*, generation_id: int) -> None:
        me.post(f"/v1/generations/{generation_id}/cancel", {})

    worker_registry.publish(worker_name="test", seconds_per_image=0.01)
    monkeypatch.setattr(enqueue, "send", cancel)
    reply = me.generate()
    assert refusal(reply) == (409, "generation_cancelled")
    assert reply["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["/v1/generations/{id}/cancel", "/v1/generations/{id}"])
def test_another_accounts_generation_is_not_found(me: Caller, stranger: Caller, path: str) -> None:
    generation = factories.generation_in(Status.COMPLETED, stranger.account)
    own = path.format(id=generation.pk)
    reply = me.post(own, {}) if own.endswith("cancel") else me.delete(own)
    assert refusal(reply) == (404, "not_found")
    assert Generation.objects.get(pk=generation.pk).prompt == "a boat"


def _done(me: Caller) -> tuple[Generation, str]:
    running = factories.claim(generation_id=factories.submit(me.account, now=None).pk)
    done = factories.finish(running, now=None)
    return done, image_tokens.token_of(generation_id=done.pk)


def test_a_deleted_generation_stays_in_the_history_without_prompt_and_image(me: Caller) -> None:
    done, token = _done(me)
    for _ in range(2):
        reply = me.delete(f"/v1/generations/{done.pk}")
        assert (reply.status_code, reply.content) == (204, b"")
    assert refusal(me.get(f"/v1/images/{token}")) == (410, "expired")
    assert refusal(me.get(f"/v1/images/{token}", **{"If-None-Match": "*"})) == (410, "expired")
    [row] = me.get("/v1/generations").json()["data"]["generations"]
    assert (row["id"], row["prompt"], row["cost"], row["status"]) == (done.pk, "", "0.0267", "completed")
    assert me.get("/v1/balance").json()["data"]["total_spent"] == "0.0267"
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_a_deleted_image_is_gone_and_the_prompt_stays(me: Caller) -> None:
    done, token = _done(me)
    for _ in range(2):
        assert me.delete(f"/v1/images/{token}").status_code == 204
    assert refusal(me.get(f"/v1/images/{token}")) == (410, "expired")
    assert me.get(f"/v1/generations/{done.pk}").json()["data"]["prompt"] == "a boat"


def test_another_accounts_image_is_not_deleted(me: Caller, stranger: Caller) -> None:
    _, token = _done(stranger)
    assert refusal(me.delete(f"/v1/images/{token}")) == (403, "access_denied")
    assert refusal(me.delete(f"/v1/images/{'0' * 64}")) == (404, "not_found")
    assert stranger.get(f"/v1/images/{token}").status_code == 200


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_an_open_generation_is_not_deleted(me: Caller, status: Status) -> None:
    generation = factories.generation_in(status, me.account)
    assert refusal(me.delete(f"/v1/generations/{generation.pk}")) == (409, "still_open")


@pytest.mark.usefixtures("engine")
def test_the_replay_of_a_deleted_one_is_410_and_never_a_new_charge(me: Caller) -> None:
    body, key = {"prompt": "a boat", "size": "512x512"}, {"Idempotency-Key": "order-7"}
    made = me.post("/v1/generate", body, **key).json()["data"]
    me.delete(f"/v1/generations/{made['id']}")
    assert refusal(me.post("/v1/generate", body, **key)) == (410, "expired")
    me.account.refresh_from_db()
    assert (me.account.settlement_count, me.account.reserved_micros) == (1, 0)
