"""The sweep: what is stuck moves on, what is not stays."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction

from tests import factories
from tests.database import start_elsewhere
from tests.factories import NOW
from workers.lifecycle import attempt_statements, generations, recovery, submission
from workers.messaging import enqueue
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hinted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the ids that messages were sent for."""
    sent = []
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: sent.append(generation_id))
    return sent


def _status(generation: Generation) -> str:
    return Generation.objects.get(pk=generation.pk).status


def test_a_dead_workers_generation_is_queued_and_hinted_again(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    lease_over = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    hinted.clear()
    assert recovery.sweep(now=NOW + timedelta(seconds=1)) == (0, 0, 0)
    assert recovery.sweep(now=lease_over) == (0, 1, 1)
    assert (_status(running), hinted) == (Status.QUEUED, [running.pk])


def test_a_lost_message_is_sent_again_but_not_at_every_sweep(hinted: list[int]) -> None:
    queued = factories.submit(factories.account())
    hinted.clear()
    later = NOW + timedelta(seconds=recovery.HINT_INTERVAL_SECONDS + 1)
    assert recovery.sweep(now=later).hinted == 1
    assert recovery.sweep(now=later + timedelta(seconds=1)).hinted == 0
    assert hinted == [queued.pk]


def test_what_an_idle_worker_rescues_is_hinted_at_once(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    hinted.clear()
    # The first message was sent a moment ago, so that it is not yet taken for lost.
    soon = NOW + timedelta(seconds=13)
    assert recovery.rescue(limit=10, silence_seconds=12, now=soon) == [running.pk]
    assert recovery.sweep(now=soon).hinted == 1
    assert hinted == [running.pk]


def test_what_a_worker_puts_back_is_hinted_at_once(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    hinted.clear()
    assert running.lease_token is not None
    generations.put_back(lease_tokens=[running.lease_token], now=NOW + timedelta(seconds=1))
    assert recovery.sweep(now=NOW + timedelta(seconds=2)).hinted == 1
    assert hinted == [running.pk]


def test_what_is_given_up_keeps_what_its_last_attempt_said(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    generations.retry(generation=running, backoff_seconds=0, detail="out of memory", now=NOW)
    untried = factories.submit(factories.account())
    recovery.sweep(now=NOW + timedelta(seconds=submission.DEADLINE_SECONDS + 1))
    details = [Generation.objects.get(pk=each.pk).error_detail for each in (running, untried)]
    assert details == ["out of memory", "its deadline passed, or its last worker died"]


def test_the_oldest_is_hinted_first_whatever_was_written_last(hinted: list[int]) -> None:
    owner = factories.account()
    queued = [factories.submit(owner).pk for _ in range(3)]
    hinted.clear()
    for pk in reversed(queued):
        Generation.objects.filter(pk=pk).update(hinted_at=None)
    assert recovery.sweep(now=NOW + timedelta(seconds=1)).hinted == len(queued)
    assert hinted == queued


def test_the_oldest_is_given_up_first_whatever_was_written_last(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = factories.account()
    running = [factories.generation_in(Status.RUNNING, owner).pk for _ in range(3)]
    late = NOW + timedelta(seconds=submission.DEADLINE_SECONDS + 1)
    for pk in reversed(running):
        Generation.objects.filter(pk=pk).update(deadline_at=late)
    given_up = []
    monkeypatch.setattr(generations, "give_up", lambda *, generation, **_: given_up.append(generation.pk))
    recovery.sweep(now=late + timedelta(seconds=1))
    assert given_up == running


def test_a_generation_waits_for_its_backoff_before_it_is_hinted_again(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    generations.retry(generation=running, backoff_seconds=8, detail="", now=NOW)
    hinted.clear()
    assert recovery.sweep(now=NOW + timedelta(seconds=7)).hinted == 0
    assert recovery.sweep(now=NOW + timedelta(seconds=9)).hinted == 1


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
def test_what_is_open_past_its_deadline_fails_and_is_free(hinted: list[int], status: Any) -> None:
    owner = factories.account()
    generation = factories.generation_in(status, owner)
    late = NOW + timedelta(seconds=submission.DEADLINE_SECONDS + 1)
    assert recovery.sweep(now=late).given_up == 1
    owner.refresh_from_db()
    failed = Generation.objects.get(pk=generation.pk)
    assert (failed.status, failed.error_type, owner.reserved_micros) == (
        Status.FAILED,
        "generation_failed",
        0,
    )
    assert failed.error_code.startswith("GENERATION_FAILED_")


def test_a_generation_whose_workers_died_three_times_fails(hinted: list[int]) -> None:
    last = factories.exhausted(factories.account())
    assert recovery.sweep(now=NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)).given_up == 1
    assert _status(last) == Status.FAILED


def test_the_last_attempt_goes_on_for_as_long_as_its_lease_is_renewed(hinted: list[int]) -> None:
    last = factories.exhausted(factories.account())
    lease_over = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    generations.renew(lease_tokens={last.lease_token}, now=lease_over)
    assert recovery.sweep(now=lease_over + timedelta(seconds=1)) == (0, 0, 0)
    assert not generations.give_up(generation=last, error_type="x", error_code="X", now=lease_over)
    assert _status(last) == Status.RUNNING


def test_what_is_past_its_deadline_is_not_taken_back() -> None:
    factories.generation_in(Status.RUNNING, factories.account())
    late = NOW + timedelta(seconds=submission.DEADLINE_SECONDS)
    assert recovery.rescue(limit=10, now=late) == []


def test_what_has_had_all_its_attempts_is_not_taken_back() -> None:
    factories.exhausted(factories.account())
    lease_over = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    assert recovery.rescue(limit=10, now=lease_over) == []


def test_what_is_not_overdue_is_not_given_up_even_when_asked_for() -> None:
    for status in (Status.QUEUED, Status.RUNNING):
        generation = factories.generation_in(status, factories.account())
        in_time = NOW + timedelta(seconds=submission.DEADLINE_SECONDS - 1)
        assert not generations.give_up(generation=generation, error_type="x", error_code="X", now=in_time)
        assert _status(generation) == status


def test_a_sweep_passes_over_what_another_has_locked(hinted: list[int]) -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    lease_over = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    with transaction.atomic():
        Generation.objects.select_for_update().get(pk=running.pk)
        swept = start_elsewhere(lambda: recovery.sweep(now=lease_over))
        waits = not swept.done()
    assert (waits, swept.result()) == (False, (0, 0, 0))


def test_many_sweeps_at_once_move_each_row_once(hinted: list[int]) -> None:
    owner = factories.account()
    for _ in range(20):
        factories.generation_in(Status.RUNNING, owner)
    hinted.clear()
    lease_over = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    swept = factories.at_once(4, lambda _: recovery.sweep(now=lease_over))
    assert sum(each.rescued for each in swept) == 20
    assert len(hinted) == len(set(hinted)) == 20
