"""An account runs its own keys: each grants what it says, and none can make one that grants more than itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from billing import key_changes, key_delegation, keys
from billing.grants import DEFAULT_SCOPES, Grants, Scope
from billing.models import ApiKey
from tests.assertions import refusal
from tests.zekron_api.callers import Caller, caller
from tests.zekron_api.openapi.test_document import check as check_document
from workers.models import Generation

pytestmark = pytest.mark.django_db
NOT_WAITED_FOR = {"async": True}


@pytest.fixture
def manager(me: Caller) -> Caller:
    """Return my account with a key that manages keys."""
    return with_grants(me, Grants(scopes=tuple(Scope)))


def with_grants(owner: Caller, grants: Grants) -> Caller:
    """Return the account of the caller with a new key that grants this."""
    _, text = keys.issue(account_id=owner.account.pk, grants=grants)
    return owner._replace(key=text)


def with_text(owner: Caller, reply: Any) -> Caller:
    """Return the account of the caller with the key that the reply has issued."""
    assert reply.status_code in (200, 201), reply.content
    return owner._replace(key=reply.json()["data"]["key"])


def patch(who: Caller, path: str, body: Any) -> Any:
    return who.client.patch(
        path, body, content_type="application/json", headers={"Authorization": f"Bearer {who.key}"}
    )


def test_a_new_key_is_shown_once_and_opens_what_it_grants(manager: Caller) -> None:
    body = {
        "name": " shop ",
        "scopes": ["read"],
        "allowed_ips": ["127.0.0.1"],
        "requests_per_minute": 3,
        "concurrency": 2,
        "spend_limit": {"amount": "25.00", "period": "month"},
        "metadata": {"team": "web"},
    }
    reply = manager.post("/v1/keys", body)
    check_document("/v1/keys", "post", reply)
    assert reply.status_code == 201
    data = reply.json()["data"]
    text = data.pop("key")
    assert data["name"] == "shop"
    assert data["scopes"] == ["read"]
    assert data["allowed_ips"] == ["127.0.0.1/32"]
    assert data["spend_limit"] == {"amount": "25.0000", "period": "month"}
    assert (data["requests_per_minute"], data["concurrency"], data["spent"]) == (3, 2, "0.0000")
    assert (data["status"], data["metadata"]) == ("live", {"team": "web"})
    assert (text[:12], text[-4:]) == (data["prefix"], data["last_four"])

    shop = manager._replace(key=text)
    assert shop.get("/v1/balance").status_code == 200
    assert refusal(shop.generate()) == (403, "key_scope")
    read = manager.get(f"/v1/keys/{data['id']}")
    check_document("/v1/keys/{key_id}", "get", read)
    used = read.json()["data"]
    assert used.pop("last_used_at")
    assert used == {name: value for name, value in data.items() if name != "last_used_at"}


def test_the_list_has_the_account_s_keys_that_are_not_revoked(manager: Caller) -> None:
    caller()
    revoked, _ = keys.issue(account_id=manager.account.pk)
    keys.revoke(key_id=revoked.pk)
    reply = manager.get("/v1/keys")
    check_document("/v1/keys", "get", reply)
    listed = [row["id"] for row in reply.json()["data"]["keys"]]
    own = ApiKey.objects.filter(account=manager.account, revoked_at__isnull=True)
    assert listed == sorted((key.pk for key in own), reverse=True)
    assert manager.get(f"/v1/keys/{revoked.pk}").json()["data"]["status"] == "revoked"


ASKS = {
    Scope.GENERATE: ("POST", "/v1/generate"),
    Scope.READ: ("GET", "/v1/generations"),
    Scope.DELETE: ("DELETE", "/v1/generations/1"),
    Scope.KEYS: ("GET", "/v1/keys"),
    Scope.BILLING: ("POST", "/v1/redemptions"),
}


@pytest.mark.parametrize("scope", ASKS)
def test_each_scope_opens_its_own_endpoints_alone(me: Caller, scope: Scope) -> None:
    with_scope = with_grants(me, Grants(scopes=(scope,)))
    for other, (method, path) in ASKS.items():
        headers = {"Authorization": f"Bearer {with_scope.key}"}
        reply = Client().generic(method, path, "", content_type="application/json", headers=headers)
        assert (reply.status_code == 403) == (other != scope), (other, reply.content)
        assert "X-RateLimit-Limit" in reply
    assert with_scope.get("/v1/models").status_code == 200


def test_a_key_of_an_older_release_has_the_usual_scopes_and_manages_no_keys(me: Caller) -> None:
    key = keys.find(text=me.key)
    assert tuple(key.scopes) == DEFAULT_SCOPES
    assert refusal(me.get("/v1/keys")) == (403, "key_scope")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["generate", "keys"]}, "scopes"),
        ({"allowed_ips": ["0.0.0.0/0"]}, "allowed_ips"),
        ({"allowed_ips": None}, "allowed_ips"),
        ({"allowed_models": None}, "allowed_models"),
        ({"requests_per_minute": 61}, "requests_per_minute"),
        ({"requests_per_minute": None}, "requests_per_minute"),
        ({"concurrency": 4}, "concurrency"),
        ({"expires_at": None}, "expires_at"),
    ],
)
def test_no_key_grants_more_than_the_key_that_asks(me: Caller, body: dict[str, Any], field: str) -> None:
    held = Grants(
        scopes=("read", "keys"),
        expires_at=timezone.now() + timedelta(days=1),
        allowed_ips=("127.0.0.0/8",),
        allowed_models=("zekron-image-1",),
        requests_per_minute=60,
        open_limit=3,
    )
    manager = with_grants(me, held)
    count = ApiKey.objects.count()
    reply = manager.post("/v1/keys", body)
    assert refusal(reply) == (403, "key_scope")
    assert reply.json()["error"]["message"].endswith(f"itself in {field}.")
    assert ApiKey.objects.count() == count
    # What is left out is as for the key that asks.
    inherited = keys.grants_of(keys.find(text=with_text(manager, manager.post("/v1/keys", {})).key))
    assert inherited == Grants(**{**vars(held), "scopes": ("read",)})


def test_a_key_changes_no_key_that_grants_more(me: Caller, manager: Caller) -> None:
    weak = with_grants(me, Grants(scopes=("read", "keys")))
    strong = keys.find(text=manager.key)
    path = f"/v1/keys/{strong.pk}"
    assert refusal(patch(weak, path, {"name": "mine"})) == (403, "key_scope")
    assert refusal(weak.post(f"{path}/rotate", {})) == (403, "key_scope")
    assert refusal(weak.delete(path)) == (403, "key_scope")
    assert ApiKey.objects.values().get(pk=strong.pk) == ApiKey.objects.values().get(pk=strong.pk)
    own = f"/v1/keys/{keys.find(text=weak.key).pk}"
    assert refusal(patch(weak, own, {"scopes": ["generate"]})) == (403, "key_scope")
    assert patch(weak, own, {"name": "mine"}).status_code == 200
    assert keys.find(text=manager.key).digest == strong.digest


@pytest.mark.parametrize("method", ["get", "patch", "delete", "rotate"])
@pytest.mark.parametrize("which", ["foreign", "unknown", "text"])
def test_a_key_of_another_account_is_not_there(manager: Caller, method: str, which: str) -> None:
    foreign = keys.find(text=caller().key)
    path = {"foreign": f"/v1/keys/{foreign.pk}", "unknown": "/v1/keys/999999", "text": "/v1/keys/x"}[which]
    reply = {
        "get": lambda: manager.get(path),
        "patch": lambda: patch(manager, path, {"name": "x"}),
        "delete": lambda: manager.delete(path),
        "rotate": lambda: manager.post(f"{path}/rotate", {}),
    }[method]()
    assert refusal(reply) == (404, "not_found")
    assert ApiKey.objects.get(pk=foreign.pk).revoked_at is None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"scope": ["read"]}, "Unknown field. Allowed: name, scopes"),
        ({"scopes": []}, "scopes must have 1 to"),
        ({"scopes": None}, "scopes must be an array of strings, not null."),
        ({"scopes": ["admin"]}, "scopes has an unknown item. Allowed: generate"),
        ({"scopes": "read"}, "scopes must be an array of strings, not a string."),
        ({"name": 7}, "name must be a string"),
        ({"name": "x" * 101}, "name must be a string of at most 100"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at must be in the future."),
        ({"expires_at": "tomorrow"}, "expires_at must be an ISO 8601 time"),
        ({"allowed_ips": ["localhost"]}, "allowed_ips must be addresses or networks"),
        ({"allowed_models": ["x"]}, "allowed_models has an unknown item."),
        ({"requests_per_minute": 0}, "requests_per_minute must be a whole number from 1"),
        ({"concurrency": 1.5}, "concurrency must be a whole number from 1"),
        ({"spend_limit": 25}, "spend_limit must be an object with amount and period"),
        ({"spend_limit": {"amount": "1"}}, "spend_limit must be an object with amount and period"),
        ({"spend_limit": {"amount": "1", "period": "week"}}, "spend_limit.period must be one of: day"),
        ({"spend_limit": {"amount": "0.00001", "period": "day"}}, "spend_limit.amount must be USD"),
        ({"spend_limit": {"amount": -1, "period": "day"}}, "spend_limit.amount must be USD"),
        ({"scopes": ["keys"], "spend_limit": {"amount": 1, "period": "day"}}, "A key with a spend_limit"),
        ({"metadata": {"a": 1}}, "Each value in metadata must be a string"),
    ],
)
def test_a_bad_field_is_refused_by_name(manager: Caller, body: dict[str, Any], message: str) -> None:
    count = ApiKey.objects.count()
    reply = manager.post("/v1/keys", body)
    assert refusal(reply) == (400, "invalid_parameter")
    assert reply.json()["error"]["message"].startswith(message)
    assert ApiKey.objects.count() == count


def test_a_change_leaves_what_it_does_not_name(manager: Caller) -> None:
    made = manager.post("/v1/keys", {"name": "shop", "scopes": ["read"], "concurrency": 2}).json()["data"]
    path = f"/v1/keys/{made['id']}"
    reply = patch(manager, path, {"spend_limit": {"amount": 5, "period": "day"}})
    check_document("/v1/keys/{key_id}", "patch", reply)
    del made["key"]
    assert reply.json()["data"] == {**made, "spend_limit": {"amount": "5.0000", "period": "day"}}
    assert patch(manager, path, {"spend_limit": None}).json()["data"] == made
    changed = patch(manager, path, {"name": "web", "concurrency": None, "metadata": {"a": "b"}}).json()[
        "data"
    ]
    assert changed == {**made, "name": "web", "concurrency": None, "metadata": {"a": "b"}}
    assert refusal(patch(manager, path, {"scope": ["read"]})) == (400, "invalid_parameter")


def test_a_rotation_keeps_the_key_and_both_texts_open_it_for_a_while(manager: Caller) -> None:
    made = with_text(manager, manager.post("/v1/keys", {"scopes": ["read"], "requests_per_minute": 5}))
    key = keys.find(text=made.key)
    reply = manager.post(f"/v1/keys/{key.pk}/rotate", {"overlap_seconds": 60})
    check_document("/v1/keys/{key_id}/rotate", "post", reply)
    rotated = with_text(manager, reply)
    assert rotated.key != made.key
    data = reply.json()["data"]
    assert (data["id"], data["scopes"], data["requests_per_minute"]) == (key.pk, ["read"], 5)
    assert data["former_until"]
    for who in (made, rotated):
        reply = who.get("/v1/balance")
        assert reply.status_code == 200
    # The two texts are one key with one limit.
    assert reply["X-RateLimit-Remaining"] == "3"
    ApiKey.objects.filter(pk=key.pk).update(former_until=timezone.now())
    assert refusal(made.get("/v1/balance")) == (401, "invalid_api_key")
    assert rotated.get("/v1/balance").status_code == 200
    assert manager.get(f"/v1/keys/{key.pk}").json()["data"]["former_until"] is None


def test_a_rotation_without_overlap_and_a_second_one_end_the_former_text(manager: Caller) -> None:
    first = with_text(manager, manager.post("/v1/keys", {"scopes": ["read"]}))
    path = f"/v1/keys/{keys.find(text=first.key).pk}/rotate"
    headers = {"Authorization": f"Bearer {manager.key}"}
    second = with_text(manager, manager.client.generic("POST", path, headers=headers))
    assert second.get("/v1/balance").status_code == 200
    third = with_text(manager, manager.post(path, {"overlap_seconds": None}))
    assert refusal(first.get("/v1/balance")) == (401, "invalid_api_key")
    assert second.get("/v1/balance").status_code == 200
    fourth = with_text(manager, manager.post(path, {"overlap_seconds": 0}))
    for ended in (second, third):
        assert refusal(ended.get("/v1/balance")) == (401, "invalid_api_key")
    assert fourth.get("/v1/balance").status_code == 200
    for wrong in (
        {"overlap_seconds": -1},
        {"overlap_seconds": 604_801},
        {"overlap_seconds": "60"},
        {"overlap": 0},
    ):
        assert refusal(manager.post(path, wrong)) == (400, "invalid_parameter")


def test_a_rotation_whose_reply_was_lost_is_repeated_without_an_end_of_the_key_in_use(
    manager: Caller,
) -> None:
    used = with_text(manager, manager.post("/v1/keys", {"scopes": ["read"]}))
    assert used.get("/v1/balance").status_code == 200
    path = f"/v1/keys/{keys.find(text=used.key).pk}/rotate"
    lost, new = (with_text(manager, manager.post(path, {})) for _ in range(2))
    assert refusal(lost.get("/v1/balance")) == (401, "invalid_api_key")
    for who in (used, new):
        assert who.get("/v1/balance").status_code == 200


def test_a_revoked_key_opens_nothing_with_either_text(manager: Caller) -> None:
    made = with_text(manager, manager.post("/v1/keys", {"scopes": ["read"]}))
    key = keys.find(text=made.key)
    rotated = with_text(manager, manager.post(f"/v1/keys/{key.pk}/rotate", {}))
    for _ in range(2):
        assert manager.delete(f"/v1/keys/{key.pk}").status_code == 204
    for who in (made, rotated):
        assert refusal(who.get("/v1/balance")) == (401, "invalid_api_key")
    assert refusal(manager.post(f"/v1/keys/{key.pk}/rotate", {})) == (404, "not_found")
    assert refusal(patch(manager, f"/v1/keys/{key.pk}", {"name": "x"})) == (404, "not_found")


def test_an_account_has_at_most_a_hundred_keys(manager: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_delegation, "MAX_KEYS", 3)
    made = manager.post("/v1/keys", {})
    assert made.status_code == 201
    assert refusal(manager.post("/v1/keys", {})) == (409, "key_limit_exceeded")
    manager.delete(f"/v1/keys/{made.json()['data']['id']}")
    assert manager.post("/v1/keys", {}).status_code == 201


def test_a_key_that_is_revoked_meanwhile_issues_nothing(manager: Caller) -> None:
    holder = keys.find(text=manager.key)
    keys.revoke(key_id=holder.pk)
    with pytest.raises(keys.InvalidKey):
        key_delegation.issue(
            holder=key_delegation.Holder(account_id=manager.account.pk, key_id=holder.pk), name="", changes={}
        )


def test_a_key_that_manages_no_keys_any_more_issues_none(manager: Caller) -> None:
    holder = keys.find(text=manager.key)
    key_changes.change(key_id=holder.pk, grants={"scopes": ("read",), "spend_limit_micros": 100})
    with pytest.raises(key_delegation.NotGranted):
        key_delegation.issue(
            holder=key_delegation.Holder(account_id=manager.account.pk, key_id=holder.pk), name="", changes={}
        )


def test_a_key_that_reads_nothing_cancels_only_what_it_asked_for(me: Caller) -> None:
    writer = with_grants(me, Grants(scopes=("generate",)))
    other = me.generate(**NOT_WAITED_FOR).json()["data"]["id"]
    own = writer.generate(**NOT_WAITED_FOR).json()["data"]["id"]
    assert refusal(writer.post(f"/v1/generations/{other}/cancel", {})) == (404, "not_found")
    assert writer.post(f"/v1/generations/{own}/cancel", {}).status_code == 200
    assert me.post(f"/v1/generations/{other}/cancel", {}).status_code == 200


def test_a_key_is_used_from_its_networks_alone(me: Caller) -> None:
    inside = with_grants(me, Grants(allowed_ips=("127.0.0.0/8",)))
    outside = with_grants(me, Grants(allowed_ips=("192.0.2.0/24",)))
    assert inside.get("/v1/balance").status_code == 200
    assert refusal(outside.get("/v1/balance")) == (403, "ip_not_allowed")
    assert refusal(outside.generate()) == (403, "ip_not_allowed")


def test_a_key_asks_for_its_models_alone(me: Caller) -> None:
    other = with_grants(me, Grants(allowed_models=("another",)))
    for reply in (other.generate(), other.post("/v1/quote", {"prompt": "a boat"})):
        assert refusal(reply) == (403, "model_not_allowed")
        assert reply.json()["error"]["message"] == "This API key may only use: another."
    reply = other.post("/v1/images/generations", {"prompt": "a boat", "model": "zekron-image-1"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (403, "model_not_allowed")
    assert [model["id"] for model in other.get("/v1/models").json()["data"]] == []
    assert other.get("/v1/models/zekron-image-1").status_code == 404
    own = with_grants(me, Grants(allowed_models=("zekron-image-1",)))
    assert own.generate(**NOT_WAITED_FOR).status_code == 202
    assert [model["id"] for model in own.get("/v1/models").json()["data"]] == ["zekron-image-1"]


def test_a_key_with_a_rate_of_its_own_is_held_to_it_and_counts_in_the_account_s(me: Caller) -> None:
    slow = with_grants(me, Grants(requests_per_minute=2))
    replies = [slow.get("/v1/balance") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert [reply["X-RateLimit-Remaining"] for reply in replies] == ["1", "0", "0"]
    assert replies[2]["X-RateLimit-Limit"] == "2"
    assert replies[2].json()["error"]["message"].startswith("This API key sent too many requests. At most 2")
    assert me.get("/v1/balance")["X-RateLimit-Remaining"] == "57"


def test_a_spend_limit_refuses_with_402_and_costs_nothing(me: Caller) -> None:
    bounded = with_grants(me, Grants(spend_limit_micros=30_000, spend_period="day"))
    assert bounded.generate(**NOT_WAITED_FOR).status_code == 202
    reply = bounded.generate(**NOT_WAITED_FOR)
    assert refusal(reply) == (402, "key_spend_limit")
    assert reply.json()["error"]["message"] == "This API key may spend 0.0300 USD today. Nothing was charged."
    assert Generation.objects.count() == 1
    assert me.generate(**NOT_WAITED_FOR).status_code == 202


def test_more_pictures_than_a_key_may_have_open_are_refused_at_once(me: Caller) -> None:
    narrow = with_grants(me, Grants(open_limit=1))
    reply = narrow.generate(n=2, **NOT_WAITED_FOR)
    assert refusal(reply) == (400, "invalid_parameter")
    assert "this API key may have open" in reply.json()["error"]["message"]
    assert narrow.generate(**NOT_WAITED_FOR).status_code == 202
    reply = narrow.generate(**NOT_WAITED_FOR)
    assert refusal(reply) == (429, "concurrency_limit_exceeded")
    assert reply.json()["error"]["message"].startswith(
        "This API key has too many open generations. At most 1"
    )
