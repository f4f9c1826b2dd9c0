"""Replies that come from outside the views: every one has a length, and no redirect turns a POST into a GET."""

import pytest
from pytest_django import Settings

from tests.assertions import refusal
from tests.zekron_api import asgi_client
from zekron_api.waiting import asgi_handler

pytestmark = pytest.mark.django_db(transaction=True)
FORM = ("content-type", "application/x-www-form-urlencoded")
REQUESTS = [
    ("GET", "/", 200),
    ("GET", "/nowhere", 404),
    ("POST", "/nowhere", 404),
    ("GET", "/healthz", 200),
    ("POST", "/healthz", 405),
    ("GET", "/readyz", 503),
    ("GET", "/v1/balance", 401),
    ("OPTIONS", "/v1/generate", 401),
    ("GET", "/v1/openapi.json", 200),
    ("GET", "/docs", 200),
    ("GET", "/metrics", 404),
    ("GET", "/admin/", 302),
    ("GET", "/admin/login/", 302),
    ("POST", "/admin/login/", 403),
    ("GET", "/me/login/", 200),
    ("POST", "/me/login/", 403),
    ("GET", "/admin/nowhere", 302),
    ("GET", "/static/admin/css/base.css", 200),
    ("GET", "/static/nowhere.css", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), REQUESTS)
def test_every_reply_has_a_length(room: asgi_client.Served, method: str, path: str, status: int) -> None:
    reply = room.send(method, path, [FORM], b"" if method == "GET" else b"a=b")
    assert reply.status_code == status
    assert reply["Content-Length"] == str(len(reply.content))
    assert "transfer-encoding" not in reply.headers


def test_a_reply_to_a_refused_host_and_one_to_a_slow_body_have_a_length(
    room: asgi_client.Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = room.send("GET", "/v1/balance", [("host", "evil.example")])
    monkeypatch.setattr(asgi_handler, "MAX_BODY_SECONDS", 0.05)
    slow = room.send_without_end("POST", "/v1/generate", [FORM], b"{")
    assert [refusal(reply)[0] for reply in (host, slow)] == [400, 408]
    for reply in (host, slow):
        assert reply["Content-Length"] == str(len(reply.content))


@pytest.mark.parametrize(
    ("method", "status"),
    [("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308), ("PATCH", 308)],
)
@pytest.mark.parametrize("path", ["/v1/generate?a=b", "/v1/images/x", "/admin/login/", "/"])
def test_the_redirect_to_https_keeps_the_method_and_has_a_length(
    settings: Settings, path: str, method: str, status: int
) -> None:
    settings.SECURE_SSL_REDIRECT = True
    with asgi_client.served() as room:
        reply = room.send(method, path, [("content-type", "application/json")], b'{"prompt": "x"}')
        assert (reply.status_code, reply["Location"]) == (status, f"https://localhost{path}")
        assert (reply["Content-Length"], reply.content) == ("0", b"")
        for probe in ("/healthz", "/readyz"):
            assert "location" not in room.send("GET", probe, [("host", "10.0.0.5")]).headers


def test_prometheus_reads_a_process_by_its_inner_address_over_plain_http(settings: Settings) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.METRICS_TOKEN = "a token of thirty-two characters"
    inside = ("host", "10.0.0.5:8000")
    with asgi_client.served() as room:
        reply = room.send("GET", "/metrics", [inside, ("authorization", f"Bearer {settings.METRICS_TOKEN}")])
        assert (reply.status_code, b"zekron_source_up" in reply.content) == (200, True)
        assert refusal(room.send("GET", "/metrics", [inside])) == (401, "unauthorized")
