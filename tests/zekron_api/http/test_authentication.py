"""Keys: which one opens which endpoint, when one stops, and that one that stops is refused as an unknown one is."""

import json
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from types import FrameType
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import accounts, keys, recent_keys
from billing.grants import Grants
from billing.models import Account, ApiKey
from tests.assertions import openai_refusal, refusal
from tests.images import picture
from tests.zekron_api.callers import Caller, caller
from zekron_api.endpoints.views import ApiView
from zekron_api.http import openai_errors
from zekron_api.urls import urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)

ENDPOINTS = {
    "v1/generate": ("POST", "/v1/generate"),
    "v1/images/<str:token>": ("GET", "/v1/images/{token}"),
    "DELETE v1/images/<str:token>": ("DELETE", "/v1/images/{token}"),
    "v1/balance": ("GET", "/v1/balance"),
    "v1/generations": ("GET", "/v1/generations"),
    "v1/generations/<str:generation_id>": ("GET", "/v1/generations/{id}"),
    "DELETE v1/generations/<str:generation_id>": ("DELETE", "/v1/generations/{id}"),
    "v1/generations/<str:generation_id>/cancel": ("POST", "/v1/generations/{id}/cancel"),
    "v1/generations/<str:generation_id>/events": ("GET", "/v1/generations/{id}/events"),
    "v1/redemptions": ("POST", "/v1/redemptions"),
    "v1/top-ups": ("GET", "/v1/top-ups"),
    "POST v1/top-ups": ("POST", "/v1/top-ups"),
    "v1/top-ups/<str:top_up_id>": ("GET", "/v1/top-ups/7d3c1f0e-5a7b-4c53-9a52-6f0f2f3b9a11"),
    "v1/quote": ("POST", "/v1/quote"),
    "v1/verify": ("POST", "/v1/verify"),
    "v1/models": ("GET", "/v1/models"),
    "v1/models/<str:model_id>": ("GET", "/v1/models/zekron-image-1"),
    "v1/images/generations": ("POST", "/v1/images/generations"),
    "v1/images/edits": ("POST", "/v1/images/edits"),
    "v1/images/variations": ("POST", "/v1/images/variations"),
    "v1/alerts": ("GET", "/v1/alerts"),
    "PUT v1/alerts": ("PUT", "/v1/alerts"),
    "v1/keys": ("GET", "/v1/keys"),
    "POST v1/keys": ("POST", "/v1/keys"),
    "v1/keys/<str:key_id>": ("GET", "/v1/keys/1"),
    "PATCH v1/keys/<str:key_id>": ("PATCH", "/v1/keys/1"),
    "DELETE v1/keys/<str:key_id>": ("DELETE", "/v1/keys/1"),
    "v1/keys/<str:key_id>/rotate": ("POST", "/v1/keys/1/rotate"),
    "v1/usage": ("GET", "/v1/usage"),
    "v1/usage/export": ("GET", "/v1/usage/export"),
    "v1/ledger": ("GET", "/v1/ledger"),
    "v1/statements/<str:month>": ("GET", "/v1/statements/2026-01"),
    "v1/webhooks": ("GET", "/v1/webhooks"),
    "POST v1/webhooks": ("POST", "/v1/webhooks"),
    "v1/webhooks/secret": ("GET", "/v1/webhooks/secret"),
    "v1/webhooks/<str:webhook_id>": ("GET", "/v1/webhooks/1"),
    "PATCH v1/webhooks/<str:webhook_id>": ("PATCH", "/v1/webhooks/1"),
    "DELETE v1/webhooks/<str:webhook_id>": ("DELETE", "/v1/webhooks/1"),
    "v1/webhooks/<str:webhook_id>/rotate": ("POST", "/v1/webhooks/1/rotate"),
    "v1/webhooks/<str:webhook_id>/test": ("POST", "/v1/webhooks/1/test"),
    "v1/webhooks/<str:webhook_id>/recover": ("POST", "/v1/webhooks/1/recover"),
    "v1/webhooks/<str:webhook_id>/deliveries": ("GET", "/v1/webhooks/1/deliveries"),
    "v1/webhooks/<str:webhook_id>/deliveries/<str:delivery_id>/replay": (
        "POST",
        "/v1/webhooks/1/deliveries/1/replay",
    ),
}
# Only a waiting room completes its replies. tests/zekron_api/mcp_server/test_view.py asks it with such keys.
IN_A_ROOM = {"mcp"}
# What each caller is told everywhere, as status and type.
ANSWERS: dict[str, tuple[int, str | None]] = {
    "the owner's key": (200, None),
    "another key of the account": (200, None),
    "another account's key": (200, None),
    "a revoked key": (401, "invalid_api_key"),
    "an expired key": (401, "invalid_api_key"),
    "a suspended account's key": (403, "access_denied"),
    "a suspended account's revoked key": (401, "invalid_api_key"),
    "no key": (401, "unauthorized"),
    "a malformed key": (401, "invalid_api_key"),
}
SCOPED = [
    route
    for route in ENDPOINTS
    if any(
        name in route for name in ("v1/keys", "PUT v1/alerts", "v1/webhooks", "v1/redemptions", "v1/top-ups")
    )
]
# It has the fields that any of the endpoints asks for.
BODY = {"prompt": "a boat", "size": "512x512", "data": picture()}
ANSWERED = ("the owner's key", "another key of the account", "another account's key")
OWNERS = ("the owner's key", "another key of the account")
EXCEPTIONS: dict[tuple[str, str], tuple[int, str | None]] = {
    **{("DELETE v1/images/<str:token>", kind): (204, None) for kind in OWNERS},
    **{("DELETE v1/generations/<str:generation_id>", kind): (204, None) for kind in OWNERS},
    **{("v1/generations/<str:generation_id>/cancel", kind): (409, "already_ended") for kind in OWNERS},
    # No usual key has these scopes. The tests of the endpoints have keys that do.
    **{(route, kind): (403, "key_scope") for route in SCOPED for kind in ANSWERED},
    **{("v1/images/edits", kind): (400, "missing_image") for kind in ANSWERED},
    **{("v1/images/variations", kind): (400, "unsupported_endpoint") for kind in ANSWERED},
    # The account is younger.
    **{("v1/statements/<str:month>", kind): (404, "not_found") for kind in ANSWERED},
    ("v1/images/<str:token>", "another account's key"): (403, "access_denied"),
    ("DELETE v1/images/<str:token>", "another account's key"): (403, "access_denied"),
    ("DELETE v1/generations/<str:generation_id>", "another account's key"): (404, "not_found"),
    ("v1/generations/<str:generation_id>/cancel", "another account's key"): (404, "not_found"),
    ("v1/generations/<str:generation_id>", "another account's key"): (404, "not_found"),
    ("v1/generations/<str:generation_id>/events", "another account's key"): (404, "not_found"),
}


@pytest.fixture
def done(me: Caller, engine: Any) -> Any:
    """Return the reply to a completed create of mine."""
    return me.generate().json()["data"]


def key_of(kind: str, me: Caller) -> str | None:
    """Return the text that this caller sends after Bearer."""
    if kind == "no key":
        return None
    if kind == "a malformed key":
        return me.key[:-1] + "-"
    if kind == "another account's key":
        return caller().key
    if kind == "the owner's key":
        return me.key
    past = timezone.now() - timedelta(seconds=1)
    key, text = keys.issue(
        account_id=me.account.pk, grants=Grants(expires_at=past if "expired" in kind else None)
    )
    if "revoked" in kind:
        keys.revoke(key_id=key.pk)
    if "suspended" in kind:
        accounts.suspend(account_id=me.account.pk)
    return text


@pytest.mark.parametrize("kind", ANSWERS)
def test_each_endpoint_tells_each_caller_what_the_table_says(me: Caller, done: Any, kind: str) -> None:
    key = key_of(kind, me)
    # What is deleted is not there for the others.
    routes = sorted(ENDPOINTS, key=lambda route: route.startswith("DELETE "))
    wrong = [route for route in routes if not _is_as_told(route, kind, key, done)]
    assert wrong == []


def _is_as_told(route: str, kind: str, key: str | None, done: Any) -> bool:
    method, path = ENDPOINTS[route]
    response = Client().generic(
        method,
        path.format(**done),
        json.dumps(BODY) if method in {"POST", "PATCH"} else "",
        content_type="application/json",
        headers={"Authorization": f"Bearer {key}"} if key else {},
    )
    status, error_type = EXCEPTIONS.get((route, kind), ANSWERS[kind])
    if openai_errors.is_for(response.wsgi_request.path_info):
        code = "invalid_api_key" if error_type == "unauthorized" else error_type
        told = (status, code) if error_type is None else openai_refusal(response)
        expected = (status, code)
    else:
        told = (status, error_type) if error_type is None else refusal(response)
        expected = (status, error_type)
    has_challenge = "WWW-Authenticate" in response
    return response.status_code == status and told == expected and has_challenge == (status == 401)


def test_the_table_has_every_endpoint_that_asks_for_a_key() -> None:
    patterns: list[Any] = urlpatterns
    views = {str(pattern.pattern): getattr(pattern.callback, "view_class", None) for pattern in patterns}
    keyed = {
        route
        if method == "get" or (method == "post" and not hasattr(view, "get"))
        else f"{method.upper()} {route}"
        for route, view in views.items()
        if view and issubclass(view, ApiView)
        for method in ("get", "post", "put", "patch", "delete")
        if hasattr(view, method)
    }
    assert keyed == set(ENDPOINTS) | IN_A_ROOM


def test_another_account_sees_nothing_of_mine_in_its_history_and_balance(
    me: Caller, stranger: Caller, done: Any
) -> None:
    data = stranger.get("/v1/generations").json()["data"]
    assert (data["generations"], data["pagination"]["total"]) == ([], 0)
    assert stranger.get("/v1/balance").json()["data"]["total_generations"] == 0
    assert stranger.get(f"/v1/images/{'0' * 64}").status_code == 404


def _by_command(key: ApiKey) -> None:
    call_command("revoke_key", str(key.pk), stdout=sys.stderr)


@pytest.mark.parametrize("revoke", [lambda key: keys.revoke(key_id=key.pk), _by_command])
def test_a_revoked_key_is_refused_from_the_next_request_on_and_its_siblings_are_not(
    me: Caller, done: Any, revoke: Callable[[ApiKey], None]
) -> None:
    key, text = keys.issue(account_id=me.account.pk)
    mine = me._replace(key=text)
    for path in ("/v1/balance", f"/v1/images/{done['token']}"):
        assert mine.get(path).status_code == 200
    revoke(key)
    for path in ("/v1/balance", f"/v1/images/{done['token']}", "/v1/generations"):
        assert refusal(mine.get(path)) == (401, "invalid_api_key")
        assert me.get(path).status_code == 200
    assert refusal(mine.generate()) == (401, "invalid_api_key")


def test_a_suspended_account_is_refused_from_the_next_request_on_until_it_is_reinstated(
    me: Caller, done: Any
) -> None:
    path = f"/v1/images/{done['token']}"
    assert me.get(path).status_code == 200
    accounts.suspend(account_id=me.account.pk)
    assert refusal(me.get(path)) == refusal(me.generate()) == (403, "access_denied")
    accounts.reinstate(account_id=me.account.pk)
    assert me.get(path).status_code == 200
    assert me.generate().status_code == 200


def test_a_revocation_by_another_process_acts_within_five_seconds_and_shows_no_amount_meanwhile(
    me: Caller, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(keys, "recent_keys", recent_keys.RecentKeys(clock=lambda: now))
    path = f"/v1/images/{done['token']}"
    assert me.get(path).status_code == 200
    # Another process writes the row, and this one is not told.
    ApiKey.objects.filter(account=me.account).update(revoked_at=timezone.now())
    assert refusal(me.get("/v1/balance")) == refusal(me.get("/v1/generations")) == (401, "invalid_api_key")
    assert me.get(path).status_code == 200
    now = recent_keys.MAX_AGE_SECONDS
    assert recent_keys.MAX_AGE_SECONDS <= 5
    assert refusal(me.get(path)) == (401, "invalid_api_key")


def test_an_account_that_another_process_suspends_holds_no_money_from_that_moment_on(
    me: Caller, done: Any
) -> None:
    assert me.get(f"/v1/images/{done['token']}").status_code == 200
    Account.objects.filter(pk=me.account.pk).update(status="suspended")
    assert refusal(me.generate()) == (403, "access_denied")
    me.account.refresh_from_db()
    assert me.account.reserved_micros == 0


def test_balance_and_history_are_read_anew_by_a_key_of_a_moment_ago(me: Caller, done: Any) -> None:
    for count in (1, 2, 3):
        data = me.get("/v1/balance").json()["data"]
        assert (data["total_generations"], data["balance"]) == (count, f"{10 - 0.0254 * count:.4f}"), data
        assert me.get("/v1/generations").json()["data"]["pagination"]["total"] == count
        assert me.generate().status_code == 200


def test_the_second_request_of_a_key_does_not_look_it_up_again(me: Caller, done: Any) -> None:
    _, text = keys.issue(account_id=me.account.pk)
    mine = me._replace(key=text)
    with CaptureQueriesContext(connection) as asked:
        for _ in range(3):
            assert mine.get(f"/v1/images/{done['token']}").status_code == 200
            assert mine.generate().status_code == 200
    of_key = [query["sql"].split()[0] for query in asked.captured_queries if "apikey" in query["sql"]]
    # It is read, its use is noted, and each hold asks it again.
    assert of_key == ["SELECT", "UPDATE", "WITH", "WITH", "WITH"]


def _dead_keys(me: Caller) -> dict[str, str]:
    return {
        "unknown": keys.PREFIX + "0" * 46,
        "revoked": key_of("a revoked key", me) or "",
        "expired": key_of("an expired key", me) or "",
        "of another shape": "zk_abc123",
    }


def _lines_of_keys_run_by(work: Callable[[], object]) -> list[int]:
    """Each line of `billing/keys.py` that runs meanwhile, in its order."""
    lines: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != keys.__file__:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def test_unknown_revoked_and_expired_keys_are_refused_by_the_same_statement_and_the_same_lines(
    me: Caller,
) -> None:
    statements, lines, answers = set(), set(), set()
    for text in _dead_keys(me).values():
        request = me._replace(key=text)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            lines.add(tuple(_lines_of_keys_run_by(partial(lambda asked: answers.add(_said(asked)), request))))
        [query] = asked.captured_queries
        statements.add(query["sql"].replace(keys.digest(text), "DIGEST"))
    assert len(statements) == len(lines) == len(answers) == 1
    assert len(next(iter(lines))) > 3


def _said(who: Caller) -> tuple[int, str, tuple[str, ...]]:
    """All of a refusal that could tell one from another, without what is new in each."""
    response = who.get("/v1/balance")
    error = response.json()["error"]
    return response.status_code, error["message"], tuple(sorted(response.headers))


def test_what_is_compared_in_secret_is_a_digest_and_never_the_key(me: Caller) -> None:
    with CaptureQueriesContext(connection) as asked:
        assert me.get("/v1/balance").status_code == 200
    assert not any(me.key[12:-4] in query["sql"] for query in asked.captured_queries)
