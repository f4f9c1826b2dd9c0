"""The published limits hold to the request, whoever asks at once and whether or not Redis answers."""

import math
import os
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
import redis
from django.conf import settings as project
from kombu.exceptions import OperationalError
from pytest_django import Settings

from billing import limits
from tests import factories
from tests.assertions import refusal
from tests.processes import ROOT
from tests.zekron_api.callers import Caller
from workers.messaging import enqueue, redis_client
from workers.models import Generation, Status
from zekron_api.http import rate_limit
from zekron_api.waiting.deferred_response import PendingGenerationResponse

pytestmark = pytest.mark.django_db(transaction=True)

PROCESS = """
import sys, threading
import django
django.setup()
from billing.models import Account
from zekron_api.http import rate_limit
admitted = []
def take_ten():
    for _ in range(10):
        try:
            admitted.append(rate_limit.consume(account=Account(pk=7)))
        except rate_limit.RateExceeded:
            pass
threads = [threading.Thread(target=take_ten) for _ in range(50)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(admitted))
"""


@pytest.fixture
def half_open() -> Iterator[str]:
    """Return the address of a Redis that accepts connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    accepted.append(listener.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in accepted:
            connection.close()


@pytest.fixture
def absent() -> str:
    """Return the address of no Redis, of which this process knows nothing yet."""
    redis_client._circuit_breaker.cache_clear()
    rate_limit._own.cache_clear()
    return "redis://127.0.0.1:1/0"


def _start() -> "subprocess.Popen[str]":
    environment = os.environ | {
        "REDIS_URL": project.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "zekron_api.settings",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.processes
def test_of_1000_requests_at_once_from_two_processes_exactly_60_are_admitted() -> None:
    processes = [_start(), _start()]
    assert [process.stdout.readline() for process in processes if process.stdout] == ["ready\n"] * 2
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    admitted = [int(process.communicate()[0]) for process in processes]
    assert sum(admitted) == 60


@pytest.mark.slow
def test_of_200_requests_at_once_over_http_exactly_60_are_served(me: Caller) -> None:
    # A thread each would be as many connections as the database takes at all.
    twice = factories.at_once(100, lambda _: [me.get("/v1/balance").status_code for _ in range(2)])
    assert Counter(status for statuses in twice for status in statuses) == {200: 60, 429: 140}


@pytest.mark.slow
def test_of_50_generates_at_once_exactly_5_are_accepted(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PendingGenerationResponse, "wait_in_place", lambda self: self)
    replies = factories.at_once(50, lambda _: me.generate())
    refusals = Counter(refusal(reply) for reply in replies if reply.status_code != 202)
    assert refusals == {(429, "concurrency_limit_exceeded"): 45}
    assert Generation.objects.count() == 5
    me.account.refresh_from_db()
    assert me.account.reserved_micros == sum(Generation.objects.values_list("quote_micros", flat=True))


def test_a_window_rolls_a_request_counts_for_60_seconds_and_no_longer(
    me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1_000_000.0]
    monkeypatch.setattr("limits.strategies.time.time", lambda: clock[0])
    monkeypatch.setattr("limits.storage.redis.time.time", lambda: clock[0])
    for second in range(60):
        clock[0] = 1_000_000.0 + second
        rate_limit.consume(account=me.account)
    clock[0] = 1_000_059.9
    with pytest.raises(rate_limit.RateExceeded):
        rate_limit.consume(account=me.account)
    clock[0] = 1_000_060.1
    assert rate_limit.consume(account=me.account).remaining == 0
    with pytest.raises(rate_limit.RateExceeded):
        rate_limit.consume(account=me.account)


@pytest.mark.parametrize(
    ("first_at", "refused_at", "wait_seconds"),
    # The end of the window is told in whole seconds, so the wait may be less than a second longer than it must be.
    [(0.9, 30.0, 31), (0.1, 0.1, 61), (0.1, 60.0, 1), (0.9, 60.8, 1), (0.5, 30.4, 31)],
)
def test_a_request_after_the_told_wait_is_admitted(
    me: Caller, monkeypatch: pytest.MonkeyPatch, first_at: float, refused_at: float, wait_seconds: int
) -> None:
    start, clock = 1_000_000.0, [1_000_000.0 + first_at]
    monkeypatch.setattr("time.time", lambda: clock[0])
    for _ in range(60):
        rate_limit.consume(account=me.account)
    clock[0] = start + refused_at
    with pytest.raises(rate_limit.RateExceeded) as refused:
        rate_limit.consume(account=me.account)
    assert refused.value.wait_seconds == wait_seconds
    assert refused.value.rate.reset_at == math.ceil(start + first_at + 60)
    clock[0] += wait_seconds
    assert rate_limit.consume(account=me.account).remaining == 59


def test_the_61st_request_of_a_minute_is_refused_for_the_account_and_no_other(
    me: Caller, stranger: Caller
) -> None:
    left = [me.get("/v1/balance")["X-RateLimit-Remaining"] for _ in range(60)]
    assert (left[0], left[-1]) == ("59", "0")
    refused = me.get("/v1/balance")
    assert refusal(refused) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused["Retry-After"]) <= 61
    assert refused["X-RateLimit-Remaining"] == "0"
    assert refusal(me.post("/v1/balance", {})) == (405, "method_not_allowed")
    assert stranger.get("/v1/balance").status_code == 200


def test_every_reply_to_a_valid_key_says_what_is_left_also_an_error(
    me: Caller, idle_worker: None, settings: Settings
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    settings.OPEN_GENERATIONS_LIMIT = 0
    replies = [
        me.get("/v1/balance"),
        me.get("/v1/generations?limit=x"),
        me.get("/v1/images/x"),
        me.post("/v1/balance", {}),
        me.generate(prompt="x" * 1000),
        me.client.post("/v1/generate", b"x", "text/plain", headers={"Authorization": f"Bearer {me.key}"}),
        me.post("/v1/generate", b"{"),
        me.generate(prompt=None),
        me.generate(),
    ]
    assert [reply.status_code for reply in replies] == [200, 400, 404, 405, 413, 415, 400, 400, 429]
    assert {reply["X-RateLimit-Limit"] for reply in replies} == {"60"}
    # A 405 counts nothing.
    left = [int(reply["X-RateLimit-Remaining"]) for reply in replies]
    assert left == [59, 58, 57, 57, 56, 55, 54, 53, 52]
    assert all(reply["X-RateLimit-Reset"].isdigit() for reply in replies)
    assert {reply["RateLimit-Policy"] for reply in replies} == {'"requests";q=60;w=60'}
    told = [re.fullmatch(r'"requests";r=(\d+);t=(\d+)', reply["RateLimit"]) for reply in replies]
    assert [int(each[1]) for each in told if each] == left
    assert all(1 <= int(each[2]) <= 61 for each in told if each)


def test_polls_cannot_eat_the_sixty_and_the_published_reads_stay_in_them(me: Caller) -> None:
    row = factories.generation_in(Status.COMPLETED, me.account)
    polled = [me.get(f"/v1/generations/{row.pk}{suffix}") for suffix in ("", "/events")]
    assert {reply["RateLimit-Policy"] for reply in polled} == {'"polls";q=600;w=60'}
    paths = ("/v1/generations", "/v1/balance", "/v1/images/x", "/v1/models")
    left = [me.get(path)["X-RateLimit-Remaining"] for path in paths]
    assert left == ["59", "58", "57", "56"]


def test_without_redis_reads_are_served_generates_accepted_and_the_rate_is_bounded(
    me: Caller, settings: Settings, absent: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings.REDIS_URL, settings.SYNC_WAIT_SECONDS = absent, 0
    assert refusal(me.generate()) == (503, "service_busy")
    assert Generation.objects.count() == 1
    statuses = [me.get("/v1/balance").status_code for _ in range(60)]
    assert statuses == [200] * 59 + [429]
    assert caplog.text.count("Redis is away") == 1


def test_a_redis_that_accepts_and_never_answers_holds_up_one_request_and_no_more(
    me: Caller, settings: Settings, half_open: str, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is generous: without the rest each request would wait for its own timeouts."""
    settings.REDIS_URL, settings.SYNC_WAIT_SECONDS = half_open, 0
    monkeypatch.setattr(redis_client, "TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(redis_client, "REST_SECONDS", 3600.0)
    asked = []
    ask = redis_client.connection

    def counted() -> "redis.Redis":
        asked.append(1)
        return ask()

    monkeypatch.setattr(redis_client, "connection", counted)
    statuses = [
        me.get("/v1/balance").status_code,
        me.generate().status_code,
        me.get("/v1/generations").status_code,
    ]
    assert statuses == [200, 503, 200]
    assert len(asked) == 1
    assert Generation.objects.count() == 1


def test_the_log_says_once_that_redis_is_away_and_once_that_it_is_back(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = [0.0]
    breaker = redis_client.CircuitBreaker(clock=lambda: clock[0])

    def ask(error: Exception | None = None) -> bool:
        try:
            with breaker.guard():
                if error:
                    raise error
        except redis_client.RedisUnavailable:
            return False
        return True

    assert ask()
    assert not ask(redis.TimeoutError("half-open"))
    assert not ask()
    clock[0] = redis_client.REST_SECONDS
    assert not ask(OperationalError("refused"))
    clock[0] += redis_client.REST_SECONDS - 0.1
    assert not ask()
    clock[0] += 0.1
    assert ask()
    assert ask()
    warnings = [record.getMessage()[:13] for record in caplog.records]
    assert warnings == ["Redis is away", "Redis is back"]


def test_after_the_rest_one_asks_for_all() -> None:
    clock = [0.0]
    breaker = redis_client.CircuitBreaker(clock=lambda: clock[0])
    with pytest.raises(redis_client.RedisUnavailable), breaker.guard():
        raise redis.ConnectionError
    clock[0] = redis_client.REST_SECONDS
    with breaker.guard(), pytest.raises(redis_client.RedisUnavailable), breaker.guard():
        pytest.fail("a second one asks before the first has an answer")


def test_a_hint_that_cannot_be_sent_is_dropped_at_once_while_redis_rests(
    settings: Settings, absent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REDIS_URL = absent
    sent = []

    def refuse(*_: object, **__: object) -> None:
        sent.append(1)
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(redis.Redis, "lpush", refuse)
    enqueue.send(generation_id=1)
    enqueue.send(generation_id=2)
    assert len(sent) == 1


def test_an_account_has_a_rate_and_headers_of_its_own(me: Caller) -> None:
    limits.set_limits(account_id=me.account.pk, requests_per_minute=2, open_limit=None, queue_limit=None)
    for remaining in ("1", "0"):
        reply = me.get("/v1/balance")
        assert reply.status_code == 200
        assert (reply["X-RateLimit-Limit"], reply["X-RateLimit-Remaining"]) == ("2", remaining)
        assert reply["RateLimit-Policy"] == '"requests";q=2;w=60'
    reply = me.get("/v1/balance")
    assert refusal(reply) == (429, "rate_limit_exceeded")
    assert "At most 2 are allowed in 60 seconds." in reply.json()["error"]["message"]
    assert me.get("/v1/generations/1").status_code == 404


def test_an_account_has_an_open_limit_of_its_own(me: Caller, idle_worker: None) -> None:
    limits.set_limits(account_id=me.account.pk, requests_per_minute=None, open_limit=1, queue_limit=2)
    assert [me.generate(**{"async": True}).status_code for _ in range(2)] == [202, 202]
    reply = me.generate(**{"async": True})
    assert refusal(reply) == (429, "queue_limit_exceeded")
    assert "At most 2 are allowed." in reply.json()["error"]["message"]
    reply = me.generate(n=2)
    assert refusal(reply) == (400, "invalid_parameter")
    assert "n must be at most 1" in reply.json()["error"]["message"]
