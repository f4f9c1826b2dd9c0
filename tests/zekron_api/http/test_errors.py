"""Right status in the envelope, in the contract's order, for all that is sent beside a body."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from pytest_django import Settings

from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from workers.lifecycle import admission, queue_readings

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]

JSON = ("content-type", "application/json")


@pytest.fixture(autouse=True)
def unlimited(settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    settings.REQUESTS_PER_MINUTE = 10_000


AUTHORIZATIONS = {
    "none": ([], "unauthorized"),
    "empty": ([""], "unauthorized"),
    "another scheme": (["Basic {key}"], "unauthorized"),
    "the key alone": (["{key}"], "unauthorized"),
    "no key": (["Bearer"], "unauthorized"),
    "blanks as key": (["Bearer   "], "unauthorized"),
    "the key twice": (["Bearer {key}", "Bearer {key}"], "invalid_api_key"),
    "another key first": (["Bearer zk_live_x", "Bearer {key}"], "invalid_api_key"),
    "two keys in one": (["Bearer {key} {key}"], "invalid_api_key"),
    "the key and more": (["Bearer {key}x"], "invalid_api_key"),
    "quotes": (['Bearer "{key}"'], "invalid_api_key"),
    "lower case": (["bearer zk_live_unknown"], "invalid_api_key"),
    "a NUL": (["Bearer zk_\0"], "invalid_api_key"),
    "bytes beyond ASCII": (["Bearer zk_\xff\xfe"], "invalid_api_key"),
    "SQL": (["Bearer zk_' OR '1'='1"], "invalid_api_key"),
    "60,000 characters": (["Bearer zk_" + "x" * 60_000], "invalid_api_key"),
}


@pytest.mark.parametrize(("values", "error_type"), AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_a_missing_doubled_or_malformed_key_is_a_401(
    room: asgi_client.Served, me: Caller, values: Any, error_type: Any
) -> None:
    headers = [("authorization", value.replace("{key}", me.key)) for value in values]
    reply = room.send("GET", "/v1/balance", headers)
    assert refusal(reply) == (401, error_type)
    assert reply["WWW-Authenticate"].startswith("Bearer")
    assert "x-ratelimit-limit" not in reply.headers


PATHS = [
    "//v1/balance",
    "/v1",
    "/v1/",
    "/v1/generate/",
    "/v1/balance/",
    "/v1/generations/",
    "/v1/generations/1",
    "/v1/images",
    "/v1/images/",
    "/v1/images/../balance",
    "/v1/images/..%2f..%2f..%2fetc%2fpasswd",
    "/v1/images/%2e%2e/%2e%2e/etc/passwd",
    "/v1/images/..%5c..%5cwin.ini",
    "/v1/images/%00",
    "/v1/images/" + "0" * 63,
    "/v1/images/" + "0" * 64,
    "/v1/images/" + "0" * 65,
    "/v1/images/" + "A" * 64,
    "/v1/images/" + "g" * 64,
    "/v1/images/" + "\u0660" * 64,
    "/v1/images/" + "0" * 64 + "/",
    "/v1/images/" + "0" * 64 + "%00",
    "/v1/images/" + "0" * 64 + "%0a",
    "/v1/images/" + "0" * 60_000,
    "/v1/images/%ff%fe",
    "/v1/balance%00",
    "/v1/balance%0a",
    "/V1/balance",
    "/v1/./balance",
    "/v2/generate",
    "/static/../manage.py",
    "/static/%2e%2e/manage.py",
    "/healthz/",
    "/%",
    "/%00",
    "/*",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:40])
def test_an_unknown_path_or_token_is_a_404_for_whoever_has_a_key(
    room: asgi_client.Served, bearer: tuple[str, str], path: Any
) -> None:
    assert refusal(room.send("GET", path, [bearer])) == (404, "not_found")


def test_an_unknown_path_is_a_404_before_any_other_check(room: asgi_client.Served) -> None:
    assert refusal(room.send("PUT", "/v1/nowhere", [JSON], b"x")) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "others"),
    [
        ("/v1/generate", "GET"),
        ("/v1/balance", "DELETE"),
        ("/v1/generations", "DELETE"),
        ("/v1/images/x", "POST"),
    ],
)
def test_another_method_is_a_405_that_names_those_allowed_and_counts_nothing(
    room: asgi_client.Served, bearer: tuple[str, str], path: str, others: str
) -> None:
    for method in (others, "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "FOO"):
        reply = room.send(method, path, [bearer, JSON], b"{}")
        assert refusal(reply) == (405, "method_not_allowed")
        assert reply["X-RateLimit-Remaining"] == "10000"
        assert reply.json()["error"]["message"].endswith(f"Allowed: {reply['Allow']}.")


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/balance", 200), ("/v1/generations", 200), ("/v1/images/x", 404), ("/v1/generate", 405)],
)
def test_head_is_answered_as_get_is(
    room: asgi_client.Served, bearer: tuple[str, str], path: str, status: int
) -> None:
    asked = {"x-request-id": "one"}
    head, get = (room.send(method, path, [bearer, *asked.items()]) for method in ("HEAD", "GET"))
    assert (head.status_code, get.status_code) == (status, status)
    assert head["Content-Type"] == get["Content-Type"] == "application/json"


QUERIES = {
    "limit=0": "limit must be a whole number of at least 1.",
    "limit=-1": "limit must be",
    "limit=": "limit must be",
    "limit=x": "limit must be",
    "limit=1.5": "limit must be",
    "limit=+1": "limit must be",
    "limit=1e3": "limit must be",
    "limit=%00": "limit must be",
    "limit=%ff": "limit must be",
    "limit=%D9%A3": "limit must be",
    "limit=" + "9" * 5000: "limit must be",
    "offset=-1": "offset must be a whole number of at least 0.",
    "offset=0x10": "offset must be",
    "limit=x&offset=x": "limit must be",
}


@pytest.mark.parametrize(("query", "message"), QUERIES.items(), ids=lambda text: text[:30])
def test_a_limit_or_offset_that_is_no_number_in_range_is_a_400_that_names_it(
    room: asgi_client.Served, bearer: tuple[str, str], query: Any, message: Any
) -> None:
    reply = room.send("GET", f"/v1/generations?{query}", [bearer])
    assert refusal(reply) == (400, "invalid_parameter")
    assert message in reply.json()["error"]["message"]


def test_a_query_of_thousands_of_fields_is_a_400(room: asgi_client.Served, bearer: tuple[str, str]) -> None:
    assert refusal(room.send("GET", "/v1/generations?" + "a=1&" * 2000, [bearer])) == (400, "bad_request")


@pytest.mark.parametrize(
    "header",
    [
        ("cookie", "sessionid=\xff; csrftoken=" + "x" * 9000),
        ("accept", "text/html"),
        ("accept", "\xff"),
        ("accept-language", "x" * 10_000),
        ("x-forwarded-host", "evil.example"),
        ("x-http-method-override", "DELETE"),
        ("range", "bytes=0-99999999999"),
        ("if-modified-since", "nonsense"),
        ("x-request-id", "a\r\nb: c"),
        ("content-length", "0"),
        ("user-agent", ""),
    ],
    ids=lambda header: header[0],
)
def test_an_odd_header_changes_nothing(
    room: asgi_client.Served, bearer: tuple[str, str], header: Any
) -> None:
    assert room.send("GET", "/v1/balance", [bearer, header]).json()["success"] is True


@pytest.mark.parametrize("host", ["evil.example", "localhost:x", "", "a b", "\xff", "localhost@evil.example"])
def test_a_host_that_is_not_ours_is_a_400(
    room: asgi_client.Served, bearer: tuple[str, str], host: str
) -> None:
    assert refusal(room.send("GET", "/v1/balance", [bearer, ("host", host)])) == (400, "bad_request")


def test_checks_come_in_the_contracts_order(
    room: asgi_client.Served,
    me: Caller,
    bearer: tuple[str, str],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One request that is wrong in every way is made right step by step; each step meets the next check."""
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE, settings.REQUESTS_PER_MINUTE = 2000, 0
    settings.OPEN_GENERATIONS_LIMIT = 0
    me.account.__class__.objects.filter(pk=me.account.pk).update(balance_micros=0)
    kinds = []

    def told(
        method: str = "POST",
        path: str = "/v1/generate",
        headers: Sequence[tuple[str, str]] = (),
        content: bytes = b"x" * 2001,
    ) -> None:
        kinds.append(refusal(room.send(method, path, headers, content)))

    def told_of(**fields: Any) -> None:
        told(headers=[bearer, JSON], content=json.dumps(fields).encode())

    told("PUT", "/v1/nowhere")
    told("PUT")
    told("PUT", headers=[bearer])
    told(headers=[bearer])
    settings.REQUESTS_PER_MINUTE = 1000
    told(headers=[bearer])
    told(headers=[bearer], content=b"x")
    told(headers=[bearer, JSON], content=b"x")
    told_of(model="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", model="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", size="x", images=[1, 2, 3])
    told_of(prompt="x", images=[1, 2, 3])
    told_of(prompt="x", images=[{"data": "x"}])
    told_of(prompt="x", images=[{"data": "aGVsbG8="}])
    told_of(prompt="x")
    settings.OPEN_GENERATIONS_LIMIT = 5
    # The request before still counts in the predictions of this second.
    monkeypatch.setattr(admission, "_readings", queue_readings.QueueReadings())
    told_of(prompt="x")
    assert kinds == [
        (404, "not_found"),
        (401, "unauthorized"),
        (405, "method_not_allowed"),
        (429, "rate_limit_exceeded"),
        (413, "payload_too_large"),
        (415, "unsupported_media_type"),
        (400, "invalid_json"),
        (400, "missing_prompt"),
        (400, "invalid_model"),
        (400, "invalid_size"),
        (400, "too_many_images"),
        (400, "invalid_base64"),
        (400, "invalid_image"),
        (429, "concurrency_limit_exceeded"),
        (402, "insufficient_balance"),
    ]
