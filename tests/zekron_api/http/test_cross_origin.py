"""Pages of other origins: the named ones may call the API and read every reply, and no other may."""

from typing import Any

import pytest
from pytest_django import Settings

from tests import factories
from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from zekron_api.waiting import asgi_handler

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "https://app.example.com"
JSON = ("content-type", "application/json")
ORIGIN = ("origin", PAGE)
ASKS = [
    ("access-control-request-method", "POST"),
    ("access-control-request-headers", "authorization,content-type"),
]


@pytest.fixture(autouse=True)
def origins(settings: Settings) -> None:
    """Allow the pages of one origin."""
    settings.CORS_ALLOWED_ORIGINS = [PAGE]


def is_readable(response: Any) -> bool:
    """Return whether a page of the origin may read the response, its headers included, without credentials."""
    exposed = response.headers.get("access-control-expose-headers", "")
    assert "access-control-allow-credentials" not in response.headers
    assert "origin" in response.headers["vary"].lower().split(", ")
    allowed = response.headers.get("access-control-allow-origin")
    assert bool(exposed) == bool(allowed)
    return bool(allowed == PAGE)


@pytest.mark.parametrize(
    "path", ["/v1/generate", "/v1/images/" + "0" * 64, "/v1/balance", "/v1/generations", "/v1/nothing"]
)
def test_a_preflight_needs_no_key_and_names_methods_and_headers(room: asgi_client.Served, path: str) -> None:
    response = room.send("OPTIONS", path, [ORIGIN, *ASKS])
    assert (response.status_code, response.content) == (200, b"")
    assert is_readable(response)
    assert response["access-control-allow-methods"] == "GET, HEAD, POST, PUT, PATCH, DELETE"
    headers = response["access-control-allow-headers"].split(", ")
    assert {"authorization", "content-type", "idempotency-key", "range", "if-none-match"} <= set(headers)
    assert int(response["access-control-max-age"]) > 0


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "null",
        "",
        "https://[",
        "x",
    ],
)
def test_pages_of_other_origins_get_nothing(
    room: asgi_client.Served, bearer: tuple[str, str], origin: str
) -> None:
    preflight = room.send("OPTIONS", "/v1/generate", [("origin", origin), *ASKS])
    reply = room.send("GET", "/v1/balance", [("origin", origin), bearer])
    assert (preflight.status_code, reply.status_code) == (200, 200)
    for response in (preflight, reply):
        assert not is_readable(response)
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_by_default_there_are_no_other_origins(settings: Settings, room: asgi_client.Served) -> None:
    settings.CORS_ALLOWED_ORIGINS = []
    assert not is_readable(room.send("OPTIONS", "/v1/generate", [ORIGIN, *ASKS]))
    assert not is_readable(room.send("GET", "/v1/balance", [ORIGIN]))


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/admin/login/", "/healthz", "/readyz", "/metrics", "/static/x", "/x/v1/balance"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_only_the_api_is_for_other_origins(room: asgi_client.Served, method: str, path: str) -> None:
    response = room.send(method, path, [ORIGIN, *(ASKS if method == "OPTIONS" else [])])
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_replies_that_waited_and_images_are_readable_with_the_headers_that_clients_need(
    room: asgi_client.Served, me: Caller, bearer: tuple[str, str], engine: factories.StandInEngine
) -> None:
    body = b'{"prompt": "a boat", "size": "512x512"}'
    key = ("idempotency-key", "one")
    made = room.send("POST", "/v1/generate", [ORIGIN, bearer, JSON, key], body)
    again = room.send("POST", "/v1/generate", [ORIGIN, bearer, JSON, key], body)
    path = f"/v1/images/{made.json()['data']['token']}"
    whole = room.send("GET", path, [ORIGIN, bearer])
    part = room.send("GET", path, [ORIGIN, bearer, ("range", "bytes=0-9")])
    unchanged = room.send("GET", path, [ORIGIN, bearer, ("if-none-match", whole["ETag"])])
    head = room.send("HEAD", path, [ORIGIN, bearer])
    replies = [made, again, whole, part, unchanged, head]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 206, 304, 200]
    for reply in replies:
        assert is_readable(reply)
        exposed = {name.lower() for name in reply["access-control-expose-headers"].split(", ")}
        # A page may always read these (Fetch standard, CORS-safelisted response-header name).
        safe = {"cache-control", "content-type", "content-length"}
        # These are for the browser itself.
        browser = {name for name in reply.headers if name.startswith("access-control")} | {
            "content-security-policy",
            "cross-origin-opener-policy",
            "referrer-policy",
            "strict-transport-security",
            "vary",
            "x-content-type-options",
            "x-frame-options",
        }
        assert set(reply.headers) - safe - browser <= exposed


def test_refusals_of_views_are_readable(
    room: asgi_client.Served, me: Caller, bearer: tuple[str, str], settings: Settings
) -> None:
    def post(body: bytes, *headers: asgi_client.Header) -> Any:
        return room.send("POST", "/v1/generate", [ORIGIN, *headers], body)

    refused = {
        400: post(b"{", bearer, JSON),
        401: post(b"{}", JSON),
        404: room.send("GET", "/v1/nothing", [ORIGIN]),
        405: room.send("DELETE", "/v1/balance", [ORIGIN, bearer]),
        415: post(b"{}", bearer),
        413: room.send("POST", "/v1/generate", [ORIGIN, bearer, JSON, ("content-length", "99999999")]),
    }
    settings.REQUESTS_PER_MINUTE = 1
    refused[429] = [room.send("GET", "/v1/balance", [ORIGIN, bearer]) for _ in range(2)][-1]
    for status, response in refused.items():
        assert refusal(response)[0] == status
        assert is_readable(response)
    assert "Retry-After" in refused[429]["access-control-expose-headers"]


def test_refusals_of_middleware_are_readable(room: asgi_client.Served, settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["api.example.com"]
    response = room.send("GET", "/v1/balance", [ORIGIN])
    assert (refusal(response), is_readable(response)) == ((400, "bad_request"), True)


def test_refusals_before_the_middleware_are_readable(
    room: asgi_client.Served, bearer: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asgi_handler, "MAX_BODY_SECONDS", 0.01)
    slow = room.send_without_end("POST", "/v1/generate", [ORIGIN, bearer, JSON], b"{")
    assert (refusal(slow), is_readable(slow)) == ((408, "request_timeout"), True)
    monkeypatch.setattr(asgi_handler.WaitingRoom, "create_request", lambda *_: (None, None))
    unreadable = room.send("GET", "/v1/balance", [ORIGIN, bearer])
    assert (refusal(unreadable), is_readable(unreadable)) == ((400, "bad_request"), True)
    outside = room.send("GET", "/docs", [ORIGIN])
    assert "access-control-allow-origin" not in outside.headers


def test_an_error_of_ours_is_readable(
    room: asgi_client.Served, bearer: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_account: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("zekron_api.endpoints.response_bodies.balance_reply", broken)
    response = room.send("GET", "/v1/balance", [ORIGIN, bearer])
    assert (refusal(response), is_readable(response)) == ((500, "internal_error"), True)
