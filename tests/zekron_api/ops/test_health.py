"""Health checks as load balancers ask for them: by address, often, and while a part hangs."""

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from django.test import Client

from tests import processes
from tests.assertions import refusal
from tests.zekron_api import asgi_client
from tests.zekron_api.callers import Caller
from workers.messaging import worker_registry
from zekron_api.ops import health, readiness
from zekron_api.waiting import open_lanes
from zekron_api.waiting.asgi_handler import THREAD_COUNT

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE_SECONDS = 60
HOSTS = [
    "10.0.0.5",
    "10.0.0.5:8000",
    "[fd00::5]:8000",
    "ip-10-0-0-5.internal",
    "under_score",
    "a b",
    "",
    "\xff",
]


@pytest.fixture(autouse=True)
def always_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each test find no result of an earlier one."""
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(health, "_logged", {})


class Hanging:
    """A check of storage that hangs until it is released, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.released = threading.Event()

    def __call__(self) -> bool:
        self.calls += 1
        return self.released.wait(PATIENCE_SECONDS)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hanging]:
    """Return the check of a storage that hangs."""
    hanging = Hanging()
    check = readiness.SharedCheck(hanging, without_answer=False)
    monkeypatch.setitem(readiness.PARTS, "store", check)
    yield hanging
    hanging.released.set()


def test_the_lane_of_health_checks_is_for_their_paths() -> None:
    assert set(health.PROBES) == open_lanes.PROBES


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("host", HOSTS)
def test_a_health_check_is_answered_whatever_host_it_names_and_without_a_line_in_the_log(
    room: asgi_client.Served, caplog: pytest.LogCaptureFixture, host: str, path: str
) -> None:
    worker_registry.publish(worker_name="gpu@test")
    with caplog.at_level(logging.INFO):
        reply = room.send("GET", path, [("host", host)])
    assert reply.status_code == 200
    assert reply["Content-Length"] == str(len(reply.content))
    assert {"x-request-id", "x-content-type-options"} <= set(reply.headers)
    assert [
        record.getMessage() for record in caplog.records if record.name.startswith(("zekron", "django"))
    ] == []


@pytest.mark.parametrize("path", ["/", "/v1/balance", "/v1/generate", "/admin/login/", "/nowhere"])
@pytest.mark.parametrize("host", HOSTS[:-1])
def test_another_request_that_names_an_unknown_host_is_told_so_and_leaves_one_line(
    room: asgi_client.Served, caplog: pytest.LogCaptureFixture, host: str, path: str
) -> None:
    with caplog.at_level(logging.INFO):
        reply = room.send("GET", path, [("host", host)])
    assert refusal(reply) == (400, "bad_request")
    assert reply.json()["error"]["message"].startswith(
        "The header Host names a host that this service does not"
    )
    [line] = [record for record in caplog.records if record.name == "django.security.DisallowedHost"]
    assert (line.levelname, line.exc_info) == ("WARNING", None)
    assert "ALLOWED_HOSTS" in line.getMessage() or "valid" in line.getMessage()


def test_head_and_get_of_a_health_check_agree(room: asgi_client.Served) -> None:
    for path in health.PROBES:
        head, get = (room.send(method, path, [("x-request-id", "a")]) for method in ("HEAD", "GET"))
        assert head.headers == get.headers
        assert head.content == b""


def test_a_storage_that_hangs_takes_no_thread_however_many_ask(
    room: asgi_client.Served, store: Hanging, me: Caller
) -> None:
    bearer = ("authorization", f"Bearer {me.key}")
    with ThreadPoolExecutor(4 * THREAD_COUNT) as clients, ExitStack() as at_the_end:
        # A test that fails does not hang.
        at_the_end.callback(store.released.set)
        asking = [clients.submit(room.send, "GET", "/readyz") for _ in range(4 * THREAD_COUNT)]
        processes.wait_until(lambda: store.calls)
        assert room.send("GET", "/healthz").status_code == 200
        assert room.send("GET", "/v1/balance", [bearer]).status_code == 200
        assert not any(client.done() for client in asking)
        store.released.set()
        replies = [client.result() for client in asking]
    assert {reply.json()["parts"]["store"] for reply in replies} == {True}
    assert store.calls == 1


def test_a_part_that_does_not_answer_is_named_at_last_and_the_others_are_told_apart(
    room: asgi_client.Served, store: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_SECONDS", 0.2)
    worker_registry.publish(worker_name="gpu@test")
    # The second request does not wait again for what did not answer the first.
    for _ in range(2):
        reply = room.send("GET", "/readyz")
        assert reply.status_code == 503
        assert reply["Content-Length"] == str(len(reply.content))
        assert reply.json()["parts"] == {"database": True, "redis": True, "store": False, "worker": True}
    assert store.calls == 1


def test_the_web_tier_is_ready_without_a_worker_and_looks_for_none(monkeypatch: pytest.MonkeyPatch) -> None:
    sought: list[bool] = []
    monkeypatch.setattr(readiness.WORKERS, "start", lambda: sought.append(True))
    reply = Client().get("/readyz?of=web")
    assert reply.status_code == 200
    assert reply.json() == {"status": "ok", "parts": {"database": True, "redis": True, "store": True}}
    assert sought == []


@pytest.mark.parametrize(("part", "status"), [("database", 503), ("store", 503), ("redis", 200)])
def test_the_web_tier_needs_the_database_and_the_store_but_not_redis(
    monkeypatch: pytest.MonkeyPatch, part: str, status: int
) -> None:
    monkeypatch.setitem(readiness.PARTS, part, readiness.SharedCheck(lambda: False, without_answer=False))
    reply = Client().get("/readyz?of=web")
    assert (reply.status_code, reply.json()["parts"][part]) == (status, False)
    assert reply.json()["status"] == ("ok" if status == 200 else "unavailable")


@pytest.mark.parametrize("role", ["gpu", "", "WEB"])
def test_an_unknown_role_is_refused_by_name(role: str) -> None:
    reply = Client().get("/readyz", {"of": role})
    assert refusal(reply) == (400, "invalid_parameter")
    assert reply.json()["error"]["message"] == (
        "of must be one of: web. Without it, the whole service is checked."
    )
    assert reply["Cache-Control"] == "no-store"


def test_a_part_leaves_one_line_when_it_goes_and_one_when_it_is_back(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker_registry.publish(worker_name="gpu@test")
    for works in (True, False, False, True, True):
        check = readiness.SharedCheck(partial(bool, works), without_answer=False)
        monkeypatch.setitem(readiness.PARTS, "store", check)
        assert Client().get("/readyz").status_code == (200 if works else 503)
    lines = [record.getMessage() for record in caplog.records if record.name == health.__name__]
    assert lines == ["Readiness: store does not work.", "Readiness: store works again."]


def test_the_request_lane_being_full_delays_no_health_check(
    room: asgi_client.Served, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, released = threading.Barrier(THREAD_COUNT - 1), threading.Event()

    def slow(_account: Any) -> Any:
        full.wait(PATIENCE_SECONDS)
        released.wait(PATIENCE_SECONDS)
        raise RuntimeError

    monkeypatch.setattr("zekron_api.endpoints.response_bodies.balance_reply", slow)
    bearer = ("authorization", f"Bearer {me.key}")
    with ThreadPoolExecutor(THREAD_COUNT) as clients, ExitStack() as at_the_end:
        at_the_end.callback(full.abort)
        at_the_end.callback(released.set)
        asking = [clients.submit(room.send, "GET", "/v1/balance", [bearer]) for _ in range(THREAD_COUNT)]
        # As many requests as the lane admits are in their view, and this thread.
        full.wait(PATIENCE_SECONDS)
        assert room.send("GET", "/healthz").status_code == 200
        assert room.send("GET", "/readyz").status_code == 503
        at_the_end.close()
        assert {client.result().status_code for client in asking} == {500}
