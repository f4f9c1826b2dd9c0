"""Idle worker: it takes back what a silent worker has, once it may judge that."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, close_old_connections
from django.db.models.functions import Now

from billing.models import Account
from storage import images
from tests import factories
from tests.factories import NOW
from tests.processes import wait_until
from workers.gpu_worker import poller
from workers.gpu_worker.poller import DatabaseContact, IdlePoller
from workers.lifecycle import attempt_statements, generations, recovery
from workers.models import Generation, Status

CLOCK = Now()
WAIT_SECONDS = 60


def _wait_until_completed(generation: Generation) -> Generation:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not (ended := Generation.objects.filter(pk=generation.pk, status=Status.COMPLETED)):
        assert time.monotonic() < give_up_at
        time.sleep(0.02)
    return ended[0]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the poller look into the table without a pause."""
    monkeypatch.setattr(poller, "CLAIM_SECONDS", 0.01)


@contextmanager
def _idle_hands() -> Iterator[None]:
    with factories.attempt_context(factories.StandInEngine()) as context:
        hands = IdlePoller(context=context, capacity=2)
        hands.start()
        try:
            yield
        finally:
            hands.close()


def _left_by_a_worker(owner: Account) -> Generation:
    """Return a generation that is running, and was not renewed for 13 seconds."""
    running = factories.claim(generation_id=factories.submit(owner, now=None).pk)
    silent_seconds = 13
    Generation.objects.filter(pk=running.pk).update(
        lease_until=CLOCK + timedelta(seconds=attempt_statements.LEASE_SECONDS - silent_seconds)
    )
    return Generation.objects.get(pk=running.pk)


@pytest.mark.django_db(transaction=True)
def test_what_a_silent_worker_has_is_begun_again_before_its_lease_is_over(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DatabaseContact, "record_answer", lambda self: poller.SILENCE_SECONDS)
    left = _left_by_a_worker(factories.account())
    with _idle_hands():
        completed = _wait_until_completed(left)
    assert completed.attempt_count == 2
    assert completed.ended_at < left.lease_until


@pytest.mark.django_db(transaction=True)
def test_who_has_reached_the_database_for_a_moment_only_takes_nothing_back(quick: None) -> None:
    owner = factories.account()
    left = _left_by_a_worker(owner)
    with _idle_hands():
        for _ in range(3):
            _wait_until_completed(factories.submit(owner, now=None))
        assert Generation.objects.get(pk=left.pk).lease_token == left.lease_token


@pytest.mark.django_db(transaction=True)
def test_a_round_claims_then_notes_that_it_reached_the_database_and_then_rescues(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Any] = []

    def note(_: DatabaseContact) -> float:
        happened.append("note")
        return poller.SILENCE_SECONDS

    monkeypatch.setattr(generations, "claim_next", _refusing(happened, generations.NotClaimable))
    monkeypatch.setattr(DatabaseContact, "record_answer", note)
    monkeypatch.setattr(recovery, "rescue", lambda **_: happened.append("rescue"))
    with _idle_hands():
        wait_until(lambda: len(happened) >= 6)
    # A sweep, which rescues as well, follows the first round.
    assert happened[:3] == ["claim", "note", "rescue"]
    assert happened[-3:] == ["claim", "note", "rescue"]


@pytest.mark.django_db(transaction=True)
def test_who_does_not_reach_the_table_neither_notes_it_nor_rescues(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[Any] = []
    monkeypatch.setattr(generations, "claim_next", _refusing(happened, DatabaseError))
    monkeypatch.setattr(
        DatabaseContact, "record_answer", lambda _: pytest.fail("it did not reach the database")
    )
    monkeypatch.setattr(recovery, "sweep", lambda: happened.append("sweep"))
    with _idle_hands():
        wait_until(lambda: happened.count("claim") >= 3)
    assert set(happened) == {"claim", "sweep"}


@pytest.mark.django_db(transaction=True)
def test_an_idle_worker_sweeps_and_purges_at_its_intervals(
    quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    happened: list[tuple[float, str]] = []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(recovery, "sweep", lambda: happened.append((clock[0], "sweep")))
    monkeypatch.setattr(images, "purge", lambda *, limit: happened.append((clock[0], f"purge {limit}")))
    with factories.attempt_context(factories.StandInEngine()) as context:
        idle = IdlePoller(context=context, capacity=2)
        for clock[0] in range(0, 121, 2):
            idle._poll()
        idle._attempts.shutdown()
    assert [at for at, what in happened if what == "sweep"] == list(range(0, 121, 10))
    assert [at for at, what in happened if what == f"purge {poller.MAX_PURGED_IMAGES}"] == [0, 60, 120]


@pytest.mark.parametrize(("bound", "seconds"), [(min, 1.6), (max, 2.4)])
def test_workers_that_started_together_read_the_table_apart_and_never_often(
    monkeypatch: pytest.MonkeyPatch, bound: Callable[[float, float], float], seconds: float
) -> None:
    waited: list[float] = []

    class Closed(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return len(waited) > 3

    monkeypatch.setattr(random, "uniform", bound)
    monkeypatch.setattr(IdlePoller, "_poll", lambda _: None)
    with factories.attempt_context(factories.StandInEngine()) as context:
        idle = IdlePoller(context=context, capacity=1)
        idle._closed = Closed()
        idle._run()
    assert waited == pytest.approx([seconds] * 4)
    # Two reads are no pause of a worker that reaches the database.
    assert 2 * seconds < poller.PAUSE_SECONDS


@pytest.mark.django_db(transaction=True)
def test_an_idle_worker_claims_no_more_than_it_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    waiting = [factories.submit(owner, now=None).pk for _ in range(3)]
    begun: list[int] = []
    monkeypatch.setattr(recovery, "sweep", lambda: None)
    monkeypatch.setattr(IdlePoller, "_attempt", lambda _, claimed: begun.append(claimed.pk))
    with (
        factories.attempt_context(factories.StandInEngine()) as context,
        context.heartbeat.keep_lease(uuid.uuid4()),
    ):
        idle = IdlePoller(context=context, capacity=3)
        idle._poll()
        idle._attempts.shutdown()
    assert sorted(begun) == waiting[:2]
    assert Generation.objects.get(pk=waiting[2]).status == Status.QUEUED


def _refusing(happened: list[str], refusal: type[Exception]) -> Callable[..., Generation]:
    def claim_next(**_: object) -> Generation:
        happened.append("claim")
        raise refusal

    return claim_next


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("seconds", "rescued"), [(11, 0), (13, 1)])
def test_a_lease_is_silent_by_its_last_renewal(seconds: int, rescued: int) -> None:
    running = factories.claim(generation_id=factories.submit(factories.account()).pk, now=NOW)
    generations.renew(lease_tokens=[running.lease_token], now=NOW + timedelta(seconds=5))
    later = NOW + timedelta(seconds=5 + seconds)
    assert len(recovery.rescue(limit=10, silence_seconds=12, now=later)) == rescued


def test_contact_lasts_from_the_first_answer_after_a_pause() -> None:
    moments = iter([0.0, 2.0, 4.0, 9.0, 14.5, 16.5])
    contact = DatabaseContact(pause_seconds=5.0, clock=lambda: next(moments))
    assert [contact.record_answer() for _ in range(5)] == [2.0, 4.0, 9.0, 0.0, 2.0]


@pytest.mark.django_db(transaction=True)
def test_an_error_that_nobody_expected_does_not_end_the_poller(
    quick: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([RuntimeError("one"), SystemExit(1)])
    really_close = close_old_connections

    def fail_at_first() -> None:
        for failure in failures:
            raise failure
        really_close()

    monkeypatch.setattr(poller, "close_old_connections", fail_at_first)
    with _idle_hands():
        _wait_until_completed(factories.submit(factories.account(), now=None))
    assert caplog.text.count("idle poller failed unexpectedly and goes on") == 2
