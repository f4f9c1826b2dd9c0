"""The heartbeat: it renews leases, also after a connection that says nothing and after errors of its own."""

import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import datetime
from functools import partial

import pytest
from django.db import close_old_connections, connections

from storage.postgresql import base, time_limits
from storage.postgresql.availability import Availability
from tests import factories, processes, tcp_proxy
from tests.processes import wait_until
from tests.tcp_proxy import Proxy
from workers.gpu_worker import heartbeat
from workers.gpu_worker.heartbeat import Heartbeat
from workers.lifecycle import attempt_statements
from workers.messaging import counters, worker_registry
from workers.messaging.worker_registry import Details
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
MAX_SECONDS = 30


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy before the test's PostgreSQL, for a process that has not seen it go away."""
    monkeypatch.setattr(base, "availability", Availability())
    with tcp_proxy.before(processes.connect_to_database) as proxy:
        yield proxy


def test_a_beat_over_a_silent_connection_ends_and_the_next_one_renews(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only the heartbeat's own limit ends its wait.
    monkeypatch.setattr(time_limits, "_wait", ContextVar[float]("wait", default=3600))
    monkeypatch.setattr(heartbeat, "MAX_ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(time_limits, "HEALTH_CHECK_SECONDS", 0.2)
    running = factories.generation_in(Status.RUNNING, factories.account())
    beaten: list[str] = []

    def beat() -> None:
        connections["default"] = processes.database_over(proxy.port)
        try:
            kept = Heartbeat(worker_name="test")
            with kept.keep_lease(running.lease_token) as lost:
                kept.beat()
                proxy.freeze()
                kept.beat()
                beaten.append("silent")
                proxy.thaw()
                close_old_connections()
                kept.beat()
                beaten.append("lost" if lost.is_set() else "renewed")
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    thread.join(MAX_SECONDS)
    ended = [*beaten]
    proxy.thaw()
    thread.join(MAX_SECONDS)
    assert ended == ["silent", "renewed"]
    assert Generation.objects.get(pk=running.pk).lease_until > running.lease_until


def test_a_silent_connection_leaves_time_to_renew_over_another_one() -> None:
    silent = heartbeat.MAX_ANSWER_SECONDS + heartbeat.INTERVAL_SECONDS
    again = time_limits.HEALTH_CHECK_SECONDS + time_limits.CONNECT_SECONDS + heartbeat.MAX_ANSWER_SECONDS
    assert heartbeat.INTERVAL_SECONDS + silent + again <= attempt_statements.LEASE_SECONDS


def test_an_error_that_nobody_expected_does_not_end_the_heartbeat(caplog: pytest.LogCaptureFixture) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    before = counters.read_background_error_counts().get("heartbeat", 0)

    def fail() -> Details | None:
        raise RuntimeError("a report of the device fails")

    kept = Heartbeat(worker_name="test", describe=fail, interval_seconds=0.01)
    with kept.keep_lease(running.lease_token):
        kept.start()
        try:
            for _ in range(2):
                lease_until = Generation.objects.get(pk=running.pk).lease_until
                wait_until(partial(_is_renewed, running, lease_until))
        finally:
            kept.close()
    assert counters.read_background_error_counts()["heartbeat"] > before
    assert "heartbeat failed unexpectedly and goes on" in caplog.text


def _is_renewed(running: Generation, after: datetime) -> bool:
    return Generation.objects.get(pk=running.pk).lease_until > after


def test_a_worker_can_be_looked_at_before_each_beat() -> None:
    looked = threading.Event()
    heartbeat = Heartbeat(worker_name="test", before_beat=looked.set, interval_seconds=0.01)
    heartbeat.start()
    try:
        assert looked.wait(30)
    finally:
        heartbeat.close()


def test_a_change_is_told_at_once_and_not_with_the_next_beat() -> None:
    described: list[Details] = [Details(models={}, loading=("zekron-image-1",))]
    heartbeat = Heartbeat(worker_name="test", describe=lambda: described[-1], interval_seconds=3600)
    heartbeat.start()
    wait_until(worker_registry.list_loading)
    described.append(Details(models={"zekron-image-1": None}))
    heartbeat.beat_soon()
    wait_until(worker_registry.list_alive)
    heartbeat.close()
    assert worker_registry.list_alive() == []
