"""Access to keys, images, balance, history and limits, and errors on every path."""

import base64
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from billing import accounts, keys
from billing.models import ApiKey
from storage import images
from tests import factories
from tests.assertions import refusal
from tests.content_policy import content_policy
from tests.zekron_api.callers import Caller
from workers.lifecycle import erasure
from workers.messaging import worker_registry
from workers.models import Generation, Status
from zekron_api.endpoints import views
from zekron_api.ops import readiness

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def done(me: Caller, engine: factories.StandInEngine) -> dict[str, Any]:
    """Return the reply to a completed create."""
    return me.generate().json()["data"]


def test_the_owner_gets_the_bytes_of_the_reply_with_headers_that_keep_them_private(
    me: Caller, done: dict[str, Any]
) -> None:
    response = me.get(f"/v1/images/{done['token']}")
    assert response.content == base64.b64decode(done["image"]["b64_json"])
    assert response["Content-Type"] == "image/png"
    assert response["Cache-Control"] == "private, no-store"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert content_policy(response) == {"default-src": "'none'", "sandbox": ""}


def test_any_live_key_of_the_account_fetches_the_image(me: Caller, done: dict[str, Any]) -> None:
    _, other = keys.issue(account_id=me.account.pk)
    assert me._replace(key=other).get(f"/v1/images/{done['token']}").status_code == 200


def test_another_accounts_key_is_refused_and_an_unknown_token_is_not_found(
    me: Caller, stranger: Caller, done: dict[str, Any]
) -> None:
    assert refusal(stranger.get(f"/v1/images/{done['token']}")) == (403, "access_denied")
    for token in ("0" * 64, "x", done["token"].upper(), done["token"] + "0", "a%00b"):
        assert refusal(me.get(f"/v1/images/{token}")) == (404, "not_found")


def test_an_expired_image_is_gone_from_that_instant_before_and_after_its_purge(
    me: Caller, stranger: Caller, done: dict[str, Any]
) -> None:
    factories.expire_image(done["id"])
    assert refusal(me.get(f"/v1/images/{done['token']}")) == (410, "expired")
    assert refusal(stranger.get(f"/v1/images/{done['token']}")) == (403, "access_denied")
    assert images.purge() == 1
    assert refusal(me.get(f"/v1/images/{done['token']}")) == (410, "expired")
    row = me.get("/v1/generations").json()["data"]["generations"][0]
    assert (row["id"], row["status"]) == (done["id"], "completed")


def test_an_image_is_served_until_the_microsecond_of_its_expiry(
    me: Caller, done: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expires_at = Generation.objects.get(pk=done["id"]).expires_at
    assert datetime.fromisoformat(done["image"]["expires_at"]) == expires_at.replace(microsecond=0)
    clock = [expires_at - timedelta(microseconds=1), expires_at]
    monkeypatch.setattr(views, "timezone", SimpleNamespace(now=lambda: clock.pop(0)))
    assert me.get(f"/v1/images/{done['token']}").status_code == 200
    assert refusal(me.get(f"/v1/images/{done['token']}")) == (410, "expired")


@pytest.mark.parametrize(
    ("header", "error_type"),
    [
        (None, "unauthorized"),
        ("", "unauthorized"),
        ("Basic abc", "unauthorized"),
        ("Bearer", "unauthorized"),
        ("Bearer ", "unauthorized"),
        ("Bearer zk_live_unknown", "invalid_api_key"),
        ("Bearer nonsense", "invalid_api_key"),
        ("Bearer zk_ü", "invalid_api_key"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/generate", "/v1/balance", "/v1/generations", "/v1/images/" + "0" * 64])
def test_without_a_valid_key_every_endpoint_says_401(path: str, header: str | None, error_type: str) -> None:
    headers = {} if header is None else {"Authorization": header}
    response = Client().generic("POST" if path == "/v1/generate" else "GET", path, headers=headers)
    assert refusal(response) == (401, error_type)
    assert response["WWW-Authenticate"].startswith("Bearer")


def test_a_revoked_key_and_a_suspended_account_are_refused(me: Caller) -> None:
    accounts.suspend(account_id=me.account.pk)
    assert refusal(me.get("/v1/balance")) == (403, "access_denied")
    keys.revoke(key_id=ApiKey.objects.get(account=me.account).pk)
    assert refusal(me.get("/v1/balance")) == (401, "invalid_api_key")


def test_balance_is_what_is_settled_and_says_beside_it_what_is_held(
    me: Caller, engine: factories.StandInEngine
) -> None:
    me.generate(size="1024x1024")
    factories.submit(me.account)
    assert me.get("/v1/balance").json() == {
        "success": True,
        "data": {
            "balance": "9.9733",
            "total_spent": "0.0267",
            "total_generations": 1,
            "currency": "USD",
            "reserved": "0.0267",
            "available": "9.9466",
        },
    }


def test_history_is_newest_first_with_every_published_field(
    me: Caller, engine: factories.StandInEngine, stranger: Caller
) -> None:
    first, second = me.generate().json()["data"], me.generate(size="1024x768").json()["data"]
    stranger.generate()
    data = me.get("/v1/generations").json()["data"]
    assert [row["id"] for row in data["generations"]] == [second["id"], first["id"]]
    assert data["pagination"] == {"total": 2, "limit": 20, "offset": 0, "has_more": False}
    row = data["generations"][0]
    assert row.pop("created_at").endswith("+00:00")
    assert row == {
        "id": second["id"],
        "token": second["token"],
        "prompt": "a boat",
        "model": "zekron-image-1",
        "size": "1024x768",
        "cost": second["cost"],
        "status": "completed",
        "type": "create",
        "image_url": second["image"]["url"],
        "expires_at": second["image"]["expires_at"],
        "seed": second["seed"],
        "metadata": {},
        "prompt_truncated": False,
        "prompt_tokens_read": None,
    }


def test_history_keeps_the_row_of_an_erased_prompt(me: Caller, engine: factories.StandInEngine) -> None:
    me.generate()
    before = me.get("/v1/generations").json()["data"]["generations"][0]
    erasure.erase(generation_ids=[before["id"]])
    assert me.get("/v1/generations").json()["data"]["generations"] == [{**before, "prompt": "", "seed": None}]


@pytest.mark.parametrize("status", list(Status))
def test_history_shows_every_status_and_a_token_only_where_there_is_an_image(me: Caller, status: Any) -> None:
    factories.generation_in(status, me.account)
    row = me.get("/v1/generations").json()["data"]["generations"][0]
    assert row["status"] == status
    assert (row["token"] is not None) == (status == Status.COMPLETED)
    assert row["cost"] == ("0.0267" if status == Status.COMPLETED else "0.0000")


def test_history_pages_by_limit_and_offset(me: Caller, idle_worker: None) -> None:
    ids = [factories.submit(me.account).pk for _ in range(5)]
    page = me.get("/v1/generations?limit=2&offset=2").json()["data"]
    assert [row["id"] for row in page["generations"]] == [ids[2], ids[1]]
    assert page["pagination"] == {"total": 5, "limit": 2, "offset": 2, "has_more": True}
    last = me.get("/v1/generations?limit=2&offset=3").json()["data"]["pagination"]
    assert last["has_more"] is False
    assert me.get("/v1/generations?limit=1000").json()["data"]["pagination"]["limit"] == 100
    assert me.get(f"/v1/generations?offset={'9' * 30}").json()["data"]["generations"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/generate"),
        ("PUT", "/v1/generate"),
        ("OPTIONS", "/v1/generate"),
        ("INITIAL", "/v1/generate"),
        ("POST", "/v1/balance"),
        ("DELETE", "/v1/generations"),
        ("POST", "/v1/images/" + "0" * 64),
        ("POST", "/healthz"),
        ("DELETE", "/readyz"),
    ],
)
def test_a_wrong_method_is_a_json_405_that_says_what_is_allowed(me: Caller, method: str, path: str) -> None:
    response = me.client.generic(method, path, headers={"Authorization": f"Bearer {me.key}"})
    assert refusal(response) == (405, "method_not_allowed")
    assert {*response["Allow"].split(", ")} <= {"GET", "HEAD", "POST", "DELETE"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/openapi.json", "/docs"])
def test_a_wrong_method_is_not_taken_for_a_forged_form(path: str) -> None:
    response = Client(enforce_csrf_checks=True).post(path)
    assert refusal(response) == (405, "method_not_allowed")


def test_a_host_that_is_not_ours_is_a_json_400() -> None:
    assert refusal(Client(headers={"Host": "evil.example"}).get("/v1/balance")) == (400, "bad_request")


def test_an_error_of_ours_is_a_json_500_that_shows_nothing(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_account: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("zekron_api.endpoints.response_bodies.balance_reply", broken)
    response = me.get("/v1/balance")
    assert refusal(response) == (500, "internal_error")
    assert b"secret" not in response.content


def test_healthz_answers_as_long_as_the_process_lives() -> None:
    assert Client().get("/healthz").json() == {"status": "ok"}


def test_readyz_names_the_part_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["parts"] == {"database": True, "redis": True, "store": True, "worker": False}
    worker_registry.publish(worker_name="gpu@test")
    assert Client().get("/readyz").status_code == 200


def test_readyz_counts_workers_and_is_ready_once_the_default_model_has_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    other = worker_registry.Details(models={"other": None}, queues=["large"])
    worker_registry.publish(worker_name="gpu@other", details=other)
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["parts"]["worker"]) == (503, False)
    assert response.json()["workers"] == {"models": {"zekron-image-1": 0}, "queues": {"gpu": 0}}
    own = worker_registry.Details(models={"zekron-image-1": None}, queues=["gpu", "large"])
    worker_registry.publish(worker_name="gpu@test", details=own)
    response = Client().get("/readyz")
    assert response.status_code == 200
    assert response.json()["workers"] == {"models": {"zekron-image-1": 1}, "queues": {"gpu": 1}}


def test_readyz_tells_a_worker_that_loads_from_none_and_from_one_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    for name in ("gpu@a", "gpu@b"):
        fraction = 0.4 if name == "gpu@a" else None
        loading = worker_registry.Details(models={}, loading=("zekron-image-1",), loading_fraction=fraction)
        worker_registry.publish(worker_name=name, details=loading)
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["parts"]["worker"]) == (503, False)
    assert response.json()["workers"] == {
        "models": {"zekron-image-1": 0},
        "queues": {"gpu": 0},
        "loading": {"zekron-image-1": 2},
        "loading_fractions": {"zekron-image-1": 0.4},
    }


def test_readyz_without_redis_counts_no_workers(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["workers"]) == (503, {})


def test_a_form_of_the_admin_over_the_limit_is_a_json_413(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    form = Client(raise_request_exception=False)
    response = form.post("/admin/login/", "x=" + "x" * 2000, content_type="application/x-www-form-urlencoded")
    assert refusal(response) == (413, "payload_too_large")


@pytest.mark.parametrize(
    ("sent", "is_kept"), [("a-1.b_2", True), ("a b", False), ("x" * 65, False), ("zk_live_x", False)]
)
def test_a_request_id_is_kept_when_it_is_harmless_in_a_log(me: Caller, sent: str, is_kept: bool) -> None:
    assert (me.get("/v1/balance", **{"X-Request-Id": sent})["X-Request-Id"] == sent) == is_kept
