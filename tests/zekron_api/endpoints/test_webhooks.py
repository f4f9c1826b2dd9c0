"""The endpoints of webhooks, and the address that a request names itself."""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from billing.recent_keys import recent_keys
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.workers.webhooks import made
from tests.zekron_api.callers import Caller, receiver
from workers.models import Generation
from workers.webhook_models import MAX_ENDPOINTS, DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import addresses, claims, endpoints, events, outbox
from zekron_api.endpoints import generation_object

pytestmark = pytest.mark.django_db

URL = "https://hooks.example.com/zekron"


@pytest.fixture
def me() -> Caller:
    """Return the caller who owns the objects of the test."""
    return receiver()


@pytest.fixture
def stranger() -> Caller:
    """Return a caller with another account."""
    return receiver()


@pytest.fixture(autouse=True)
def public_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every name lead to a public address, but one."""

    def look_up(host: str, port: int) -> list[Any]:
        return [ipaddress.ip_address("10.0.0.1" if host == "internal.example.com" else "8.8.8.8")]

    monkeypatch.setattr(addresses, "look_up", look_up)
    monkeypatch.setattr(outbox, "wake", lambda: None)


def patch(me: Caller, path: str, body: Any) -> Any:
    return me.client.patch(
        path, body, content_type="application/json", headers={"Authorization": f"Bearer {me.key}"}
    )


def created(me: Caller, **body: Any) -> Any:
    response = me.post("/v1/webhooks", {"url": URL, **body})
    assert response.status_code == 201, response.content
    return response.json()["data"]


def test_a_webhook_is_created_with_a_secret_that_is_shown_once(me: Caller) -> None:
    response = me.post("/v1/webhooks", {"url": URL, "description": "mine", "events": ["image.deleted"]})
    data = response.json()["data"]
    assert response.status_code == 201
    secret = data.pop("secret")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert data == {
        "id": data["id"],
        "url": URL,
        "events": ["image.deleted"],
        "enabled": True,
        "include_prompt": False,
        "description": "mine",
        "created_at": data["created_at"],
        "failures": 0,
        "last_success_at": None,
        "disabled_at": None,
        "disabled_reason": None,
        "former_secret_until": None,
    }
    assert me.get(f"/v1/webhooks/{data['id']}").json() == {"success": True, "data": data}
    assert me.get("/v1/webhooks").json() == {"success": True, "data": {"webhooks": [data]}}
    endpoint = WebhookEndpoint.objects.get()
    assert endpoints.secret_text(endpoint) == secret


def test_without_events_these_are_the_ends_and_null_asks_for_nothing(me: Caller) -> None:
    data = created(me, events=None, enabled=None, include_prompt=None, description=None)
    assert data["events"] == ["generation.completed", "generation.failed", "generation.cancelled"]
    assert (data["enabled"], data["include_prompt"], data["description"]) == (True, False, "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", None),
        ("url", 7),
        ("url", "http://hooks.example.com/"),
        ("url", "https://10.0.0.1/"),
        ("url", "https://internal.example.com/"),
        ("url", "https://user@hooks.example.com/"),
        ("url", f"https://hooks.example.com/{'a' * 2048}"),
        ("events", []),
        ("events", "generation.completed"),
        ("events", ["generation.exploded"]),
        ("events", ["generation.completed", 7]),
        ("events", ["webhook.test"]),
        ("enabled", "yes"),
        ("include_prompt", 1),
        ("description", 7),
        ("description", "x" * 201),
        ("description", "a\0b"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(me: Caller, field: str, value: object) -> None:
    response = me.post("/v1/webhooks", {"url": URL, field: value})
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith(f"{field} ")
    assert not WebhookEndpoint.objects.exists()
    if value is not None:
        webhook_id = created(me)["id"]
        assert refusal(patch(me, f"/v1/webhooks/{webhook_id}", {field: value})) == (400, "invalid_parameter")


def test_an_account_has_ten_webhooks_at_most(me: Caller) -> None:
    for _ in range(MAX_ENDPOINTS):
        made.endpoint(me.account)
    assert refusal(me.post("/v1/webhooks", {"url": URL})) == (409, "webhook_limit_exceeded")
    assert len(me.get("/v1/webhooks").json()["data"]["webhooks"]) == MAX_ENDPOINTS


def test_a_change_leaves_what_it_does_not_name(me: Caller) -> None:
    data = created(me, description="mine")
    path = f"/v1/webhooks/{data['id']}"
    changed = patch(me, path, {"enabled": False, "events": ["generation.failed"]}).json()["data"]
    del data["secret"]
    assert changed == {**data, "enabled": False, "events": ["generation.failed"]}
    assert patch(me, path, {}).json()["data"] == changed
    assert (
        patch(me, path, {"url": "https://other.example.com/"}).json()["data"]["url"]
        == "https://other.example.com/"
    )


def test_a_webhook_that_the_service_disabled_says_why_until_it_is_enabled(me: Caller) -> None:
    data = created(me)
    WebhookEndpoint.objects.update(failure_count=50)
    endpoints.disable(
        endpoint=WebhookEndpoint.objects.get(), reason=DisabledReason.FAILING, now=factories.NOW
    )
    path = f"/v1/webhooks/{data['id']}"
    disabled = me.get(path).json()["data"]
    assert (disabled["enabled"], disabled["disabled_reason"], disabled["failures"]) == (False, "failing", 50)
    assert disabled["disabled_at"] == "2026-01-01T12:00:00+00:00"
    enabled = patch(me, path, {"enabled": True}).json()["data"]
    assert (enabled["enabled"], enabled["disabled_reason"], enabled["failures"]) == (True, None, 0)


def test_a_deleted_webhook_is_gone(me: Caller) -> None:
    path = f"/v1/webhooks/{created(me)['id']}"
    assert me.delete(path).status_code == 204
    assert refusal(me.delete(path)) == refusal(me.get(path)) == (404, "not_found")
    assert me.get("/v1/webhooks").json()["data"]["webhooks"] == []


PATHS: dict[str, Callable[[Caller, str], Any]] = {
    "read": lambda who, path: who.get(path),
    "change": lambda who, path: patch(who, path, {"enabled": False}),
    "delete": lambda who, path: who.delete(path),
    "rotate": lambda who, path: who.post(f"{path}/rotate", {}),
    "test": lambda who, path: who.post(f"{path}/test", {}),
    "deliveries": lambda who, path: who.get(f"{path}/deliveries"),
    "replay": lambda who, path: who.post(f"{path}/deliveries/{WebhookDelivery.objects.get().pk}/replay", {}),
    "recover": lambda who, path: who.post(f"{path}/recover", {"since": "2026-01-01T00:00:00Z"}),
}


@pytest.mark.parametrize("ask", PATHS.values(), ids=PATHS)
def test_a_foreign_and_an_unknown_id_are_not_found(
    me: Caller, stranger: Caller, ask: Callable[[Caller, str], Any]
) -> None:
    endpoint = made.endpoint(me.account)
    # The default endpoint has a name in place of an id.
    default = endpoints.default_of(account_id=me.account.pk)
    made.delivery(endpoint)
    assert refusal(ask(stranger, f"/v1/webhooks/{endpoint.pk}")) == (404, "not_found")
    endpoint.refresh_from_db()
    assert (endpoint.is_enabled, endpoint.deleted_at) == (True, None)
    for webhook_id in (default.pk, 0, "-1", "x", "9" * 30, "²"):
        assert refusal(ask(me, f"/v1/webhooks/{webhook_id}")) == (404, "not_found")


@pytest.mark.parametrize("body", [{}, {"overlap_seconds": None}, {"overlap_seconds": 60}, None])
def test_a_rotation_shows_the_new_secret_and_keeps_the_former_one_for_a_while(me: Caller, body: Any) -> None:
    data = created(me)
    path = f"/v1/webhooks/{data['id']}/rotate"
    headers = {"Authorization": f"Bearer {me.key}"}
    response = me.client.generic("POST", path, headers=headers) if body is None else me.post(path, body)
    rotated = response.json()["data"]
    assert rotated["secret"] != data["secret"]
    seconds = (body or {}).get("overlap_seconds") or 86_400
    until = datetime.fromisoformat(rotated["former_secret_until"]) - datetime.now(UTC)
    assert timedelta(seconds=seconds - 30) < until <= timedelta(seconds=seconds)
    assert "secret" not in me.get(f"/v1/webhooks/{data['id']}").json()["data"]


@pytest.mark.parametrize("overlap_seconds", [-1, 604_801, 1.5, "60", True])
def test_an_overlap_lasts_for_a_week_at_most(me: Caller, overlap_seconds: object) -> None:
    path = f"/v1/webhooks/{created(me)['id']}/rotate"
    assert refusal(me.post(path, {"overlap_seconds": overlap_seconds})) == (400, "invalid_parameter")


def test_a_test_event_is_in_the_log_which_can_be_paged_and_replayed(me: Caller) -> None:
    endpoint = made.endpoint(me.account)
    path = f"/v1/webhooks/{endpoint.pk}"
    sent = [me.post(f"{path}/test", {}) for _ in range(3)]
    assert {response.status_code for response in sent} == {202}
    rows = [response.json()["data"] for response in sent]
    page = me.get(f"{path}/deliveries?limit=2").json()["data"]
    assert page == {"deliveries": rows[:0:-1], "next_before": rows[1]["id"]}
    rest = me.get(f"{path}/deliveries?before={page['next_before']}").json()["data"]
    assert rest == {"deliveries": rows[:1], "next_before": None}
    [claimed, *_] = made.claim(endpoint, now=datetime.now(UTC))
    claims.record(delivery=claimed, outcome=made.TAKEN)
    [row] = [
        each for each in me.get(f"{path}/deliveries").json()["data"]["deliveries"] if each["id"] == claimed.pk
    ]
    assert row == {
        "id": claimed.pk,
        "message_id": claimed.message_id,
        "event": "webhook.test",
        "generation_id": None,
        "url": made.URL,
        "state": "delivered",
        "attempts": 1,
        "status": 200,
        "error": None,
        "milliseconds": 12,
        "created_at": row["created_at"],
        "attempted_at": row["attempted_at"],
        "next_at": None,
    }
    replayed = me.post(f"{path}/deliveries/{claimed.pk}/replay", {})
    assert replayed.status_code == 202
    data = replayed.json()["data"]
    assert (data["state"], data["message_id"], data["attempts"]) == ("pending", claimed.message_id, 1)
    assert refusal(me.post(f"{path}/deliveries/999999/replay", {})) == (404, "not_found")


def test_a_delivery_of_another_webhook_is_not_replayed(me: Caller) -> None:
    one, two = made.endpoint(me.account), made.endpoint(me.account)
    row = made.delivery(one, next_at=None)
    assert refusal(me.post(f"/v1/webhooks/{two.pk}/deliveries/{row.pk}/replay", {})) == (404, "not_found")


def test_what_failed_is_recovered_by_its_time(me: Caller) -> None:
    endpoint = made.endpoint(me.account)
    for hours in (0, 1, 2):
        made.delivery(endpoint, created_at=made.later(hours=hours), next_at=None, tries_left=0)
    path = f"/v1/webhooks/{endpoint.pk}/recover"
    body = {"since": "2026-01-01T13:00:00Z", "until": "2026-01-01T13:30:00+00:00"}
    reply = me.post(path, body)
    assert (reply.status_code, reply.json()["data"]) == (202, {"recovered": 1})
    assert me.post(path, {"since": "2026-01-01T12:00:00Z"}).json()["data"] == {"recovered": 2}
    failed = me.get(f"/v1/webhooks/{endpoint.pk}/deliveries").json()["data"]["deliveries"]
    assert {row["state"] for row in failed} == {"pending"}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"since": "yesterday"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_recovery_needs_a_beginning_before_its_end(me: Caller, body: Any) -> None:
    endpoint = made.endpoint(me.account)
    response = me.post(f"/v1/webhooks/{endpoint.pk}/recover", body)
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith("since ")


@pytest.mark.parametrize("path", ["test", "recover", "deliveries/{id}/replay"])
def test_a_disabled_webhook_sends_nothing_again(me: Caller, path: str) -> None:
    endpoint = made.endpoint(me.account, is_enabled=False)
    row = made.delivery(endpoint, next_at=None)
    body = {"since": "2026-01-01T00:00:00Z"}
    response = me.post(f"/v1/webhooks/{endpoint.pk}/{path.format(id=row.pk)}", body)
    assert refusal(response) == (409, "webhook_disabled")


def test_every_reply_says_that_the_service_has_disabled_webhooks(me: Caller) -> None:
    first, second = made.endpoint(me.account), made.endpoint(me.account)
    header = "X-Zekron-Webhook-Disabled"
    assert header not in me.get("/v1/models")
    for endpoint in (first, second):
        with transaction.atomic():
            endpoints.disable(endpoint=endpoint, reason=DisabledReason.FAILING)
    recent_keys.forget_all()
    for path in ("/v1/models", "/v1/balance", "/v1/keys"):
        assert me.get(path)[header] == "2"
    balance = me.get("/v1/balance").json()["data"]
    assert [alert["webhook_id"] for alert in balance["alerts"]] == [first.pk, second.pk]
    patch(me, f"/v1/webhooks/{first.pk}", {"enabled": True})
    me.delete(f"/v1/webhooks/{second.pk}")
    recent_keys.forget_all()
    assert header not in me.get("/v1/balance")
    # What the owner disables is no alert.
    patch(me, f"/v1/webhooks/{first.pk}", {"enabled": False})
    recent_keys.forget_all()
    assert header not in me.get("/v1/balance")


def test_the_default_secret_is_made_once_and_rotates_under_its_name(me: Caller, stranger: Caller) -> None:
    first = me.get("/v1/webhooks/secret").json()["data"]
    assert first["former_secret_until"] is None
    assert me.get("/v1/webhooks/secret").json()["data"] == first
    assert stranger.get("/v1/webhooks/secret").json()["data"]["secret"] != first["secret"]
    rotated = me.post("/v1/webhooks/secret/rotate", {"overlap_seconds": 0}).json()["data"]
    assert rotated["secret"] != first["secret"]
    assert me.get("/v1/webhooks/secret").json()["data"] == rotated
    assert me.get("/v1/webhooks").json()["data"]["webhooks"] == []
    assert me.get("/v1/webhooks/secret/deliveries").json()["data"]["deliveries"] == []


def test_a_request_names_an_address_whose_events_are_in_the_log_of_the_default_secret(
    me: Caller, idle_worker: None
) -> None:
    response = me.generate(**{"webhook_url": URL, "async": True})
    assert response.status_code == 202, response.content
    generation = Generation.objects.get()
    assert "webhook_url" not in response.json()["data"]
    factories.finish(factories.claim(generation_id=generation.pk))
    [row] = me.get("/v1/webhooks/secret/deliveries").json()["data"]["deliveries"]
    assert (row["url"], row["event"], row["generation_id"]) == (URL, events.COMPLETED, generation.pk)
    # It may be deleted and erased before it is sent.
    assert me.delete(f"/v1/generations/{generation.pk}").status_code == 204
    assert WebhookDelivery.objects.get().url == URL


@pytest.mark.parametrize("path", ["/v1/generate", "/v1/quote"])
@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/", "https://127.0.0.1/", "https://internal.example.com/", 7]
)
def test_an_address_that_a_request_may_not_name_is_refused(me: Caller, path: str, url: object) -> None:
    response = me.post(path, {"prompt": "a boat", "webhook_url": url})
    assert refusal(response) == (400, "invalid_parameter")
    assert response.json()["error"]["message"].startswith("webhook_url ")


def test_a_quote_takes_an_address_and_makes_nothing_of_it(me: Caller) -> None:
    assert me.post("/v1/quote", {"prompt": "a boat", "webhook_url": URL}).status_code == 200
    assert not WebhookEndpoint.objects.exists()


def test_an_idempotency_key_stands_for_the_address_too(me: Caller, idle_worker: None) -> None:
    body = {"webhook_url": URL, "async": True}
    key = {"Idempotency-Key": "one"}
    first = me.post("/v1/generate", {"prompt": "a boat", **body}, **key)
    assert first.status_code == 202
    again = me.post("/v1/generate", {"prompt": "a boat", **body}, **key)
    assert again["Idempotent-Replayed"] == "true"
    other = me.post("/v1/generate", {"prompt": "a boat", **body, "webhook_url": f"{URL}/2"}, **key)
    assert refusal(other) == (422, "idempotency_mismatch")


@pytest.mark.django_db(transaction=True)
def test_the_data_of_an_event_is_what_the_api_says_of_the_generation(me: Caller, engine: Any) -> None:
    for body in ({}, {"images": [{"data": picture()}], "metadata": {"order": "7"}}):
        generation_id = me.generate(**body).json()["data"]["id"]
        said = me.get(f"/v1/generations/{generation_id}").json()["data"]
        generation = Generation.objects.select_related("image").get(pk=generation_id)
        data = generation_object.webhook_data(generation, True)
        assert isinstance(data.pop("version"), int)
        assert data == said
        without = generation_object.webhook_data(generation, False)
        del said["prompt"], without["version"]
        assert without == said
