"""The endpoint /mcp as HTTP: keys, methods, bodies, limits, and errors of the protocol."""

import json
from typing import Any

import pytest
from pytest_django import Settings

from billing import accounts
from tests.zekron_api.asgi_client import Header, Reply, Served
from tests.zekron_api.callers import Caller
from tests.zekron_api.mcp_server.agents import call, post
from zekron_api.mcp_server import protocol

pytestmark = pytest.mark.django_db(transaction=True)

ORIGIN = "https://pages.example.com"
PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode()


def _envelope(reply: Reply) -> tuple[int, str]:
    body = reply.json()
    assert body["success"] is False
    return reply.status_code, body["error"]["type"]


def _protocol_error(reply: Reply) -> tuple[int, int, Any]:
    body = reply.json()
    assert body["jsonrpc"] == "2.0"
    return reply.status_code, body["error"]["code"], body["id"]


@pytest.mark.parametrize(
    ("headers", "error_type"),
    [([], "unauthorized"), ([("authorization", "Bearer zk_wrong")], "invalid_api_key")],
)
def test_a_missing_or_wrong_key_is_401_with_the_challenge(
    room: Served, headers: list[Header], error_type: str
) -> None:
    reply = room.send("POST", "/mcp", [*headers, ("content-type", "application/json")], PING)
    assert _envelope(reply) == (401, error_type)
    assert reply["WWW-Authenticate"] == 'Bearer realm="zekron"'


def test_a_suspended_account_is_refused(room: Served, me: Caller, bearer: Header) -> None:
    accounts.suspend(account_id=me.account.pk)
    assert _envelope(post(room, bearer, PING)) == (403, "access_denied")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
def test_there_are_neither_sessions_nor_streams(room: Served, bearer: Header, method: str) -> None:
    reply = room.send(method, "/mcp", [bearer, ("accept", "text/event-stream")])
    assert (reply.status_code, reply["Allow"]) == (405, "POST")
    if method != "HEAD":
        assert _envelope(reply) == (405, "method_not_allowed")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"{", (400, -32700, None)),
        (b"\xff", (400, -32700, None)),
        (b'{"id": 1, "id": 2}', (400, -32700, None)),
        (b"[" + PING + b"]", (400, -32600, None)),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "resources/list"}', (200, -32601, 1)),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call"}', (200, -32602, 1)),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": []}', (400, -32602, None)),
        (
            b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "quote", "arguments": 1}}',
            (200, -32602, 1),
        ),
    ],
)
def test_a_message_that_cannot_be_served_is_an_error_of_the_protocol(
    room: Served, bearer: Header, body: bytes, error: tuple[int, int, Any]
) -> None:
    assert _protocol_error(post(room, bearer, body)) == error


def test_an_empty_body_is_an_error_of_the_protocol(room: Served, bearer: Header) -> None:
    assert _protocol_error(post(room, bearer, b"")) == (400, -32700, None)


def test_a_body_that_is_no_json_or_too_large_is_refused_as_elsewhere(room: Served, bearer: Header) -> None:
    assert _envelope(room.send("POST", "/mcp", [bearer, ("content-type", "text/plain")], PING)) == (
        415,
        "unsupported_media_type",
    )
    announced = [bearer, ("content-type", "application/json"), ("content-length", str(33 * 1024 * 1024))]
    assert _envelope(room.send("POST", "/mcp", announced)) == (413, "payload_too_large")


@pytest.mark.parametrize("version", ["", "2026-07-28"])
def test_a_client_that_takes_no_json_is_told_so(room: Served, bearer: Header, version: str) -> None:
    more = [("mcp-protocol-version", version)] if version else []
    reply = post(room, bearer, PING, *more, accept="text/html")
    assert reply.status_code == 406
    assert "error" in reply.json()


def test_a_client_need_not_take_streams(room: Served, bearer: Header) -> None:
    reply = post(room, bearer, PING, accept="application/json")
    assert (reply.status_code, reply.json()) == (200, {"jsonrpc": "2.0", "id": 1, "result": {}})
    assert (reply["Cache-Control"], reply["Content-Type"]) == ("private, no-store", "application/json")
    assert len(reply["X-Request-Id"]) == 32


def test_a_notification_is_accepted(room: Served, bearer: Header) -> None:
    body = b'{"jsonrpc": "2.0", "method": "notifications/initialized"}'
    reply = post(room, bearer, body)
    assert (reply.status_code, reply.content) == (202, b"")


def test_messages_have_a_limit_of_their_own(room: Served, bearer: Header, settings: Settings) -> None:
    settings.MESSAGES_PER_MINUTE = 2
    replies = [post(room, bearer, PING) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[0]["RateLimit-Policy"] == '"messages";q=2;w=60'
    assert _envelope(replies[2]) == (429, "rate_limit_exceeded")
    assert "/mcp" in replies[2].json()["error"]["message"]
    assert int(replies[2]["Retry-After"]) > 0
    balance = room.send("GET", "/v1/balance", [bearer])
    assert (balance.status_code, balance["X-RateLimit-Remaining"]) == (200, "59")


def test_a_tool_counts_in_the_limit_of_its_request(room: Served, bearer: Header, settings: Settings) -> None:
    settings.REQUESTS_PER_MINUTE = 1
    first, second = (call(room, bearer, "get_balance", {}) for _ in range(2))
    assert first["isError"] is False
    error = second["structuredContent"]["error"]
    assert (error["status"], error["type"], error["retry_after_seconds"] > 0) == (
        429,
        "rate_limit_exceeded",
        True,
    )


def test_a_host_that_the_operator_does_not_serve_is_refused_and_an_origin_needs_no_permission(
    room: Served, bearer: Header
) -> None:
    assert _envelope(post(room, bearer, PING, ("host", "attacker.example.com"))) == (400, "bad_request")
    assert post(room, bearer, PING, ("origin", ORIGIN)).status_code == 200


def test_a_page_of_an_allowed_origin_may_connect(room: Served, bearer: Header, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ORIGIN]
    asked = [
        ("origin", ORIGIN),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,mcp-method,mcp-name,mcp-protocol-version"),
    ]
    allowed = room.send("OPTIONS", "/mcp", asked)
    assert allowed["Access-Control-Allow-Origin"] == ORIGIN
    assert {"mcp-method", "mcp-name", "mcp-protocol-version"} <= set(
        allowed["Access-Control-Allow-Headers"].split(", ")
    )
    assert post(room, bearer, PING, ("origin", ORIGIN))["Access-Control-Allow-Origin"] == ORIGIN


def test_without_a_waiting_room_the_endpoint_does_not_pretend_to_answer(me: Caller) -> None:
    assert me.post("/mcp", json.loads(PING)).status_code == 500


def test_an_unforeseen_error_is_in_the_envelope_too(
    room: Served, bearer: Header, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError

    monkeypatch.setattr(protocol, "answer", fail)
    assert _envelope(post(room, bearer, b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}'))[0] == 500
