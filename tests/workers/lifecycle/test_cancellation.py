"""Cancellation in every status, beside a crash of the worker, and what waits too long in the queue."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from billing import audit
from billing.models import Account, Reservation
from tests import factories
from tests.database import start_elsewhere
from tests.factories import NOW
from workers.audit import rows
from workers.lifecycle import attempt_statements, cancellation, generations, recovery
from workers.messaging import completion_events
from workers.models import MAX_ATTEMPTS, Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
LEASE_OVER = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
TTL_SECONDS = 60
LATE = NOW + timedelta(seconds=TTL_SECONDS, milliseconds=1)


def _request(generation: Generation, now: datetime = NOW) -> Generation:
    return cancellation.request(generation=generation, detail="its client asked", now=now)


def _running() -> Generation:
    return factories.generation_in(Status.RUNNING, factories.account())


def _assert_free(generation: Generation) -> None:
    generation.refresh_from_db()
    assert generation.status == Status.CANCELLED
    owner = generation.account
    owner.refresh_from_db()
    assert (owner.spent_micros, owner.reserved_micros, owner.open_hold_count, owner.open_async_count) == (
        0,
        0,
        0,
        0,
    )
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_a_queued_generation_is_cancelled_at_once_and_its_hold_released() -> None:
    queued = factories.submit(factories.account())
    assert _request(queued).status == Status.CANCELLED
    _assert_free(queued)
    assert queued.error_type == "generation_cancelled"


def test_a_running_generation_is_marked_and_its_worker_cancels_it() -> None:
    running = _running()
    marked = _request(running)
    assert (marked.status, marked.cancel_requested_at) == (Status.RUNNING, NOW)
    assert cancellation.end_requested(generation=running, now=NOW)
    _assert_free(running)


def test_a_second_request_changes_nothing() -> None:
    running = _running()
    _request(running)
    assert _request(running, now=LEASE_OVER).cancel_requested_at == NOW
    cancellation.end_requested(generation=running, now=NOW)
    assert _request(running, now=LEASE_OVER).ended_at == NOW


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
def test_what_has_ended_with_an_image_or_an_error_cannot_be_cancelled(status: Status) -> None:
    ended = factories.generation_in(status, factories.account())
    with pytest.raises(cancellation.AlreadyEnded):
        _request(ended)
    assert Generation.objects.get(pk=ended.pk).status == status


def test_a_marked_generation_is_not_completed_and_not_charged() -> None:
    running = _running()
    _request(running)
    with pytest.raises(generations.CancelRequested):
        factories.finish(running)
    assert Reservation.objects.get(pk=running.reservation_id).resolution == ""


def test_a_request_that_comes_while_the_completion_is_committed_finds_it_completed() -> None:
    running, image = _running(), factories.sealed()
    with transaction.atomic():
        generations.complete(generation=running, image=image, cost_micros=running.quote_micros, now=NOW)
        late = start_elsewhere(lambda: _request(running))
    with pytest.raises(cancellation.AlreadyEnded):
        late.result()
    assert Generation.objects.get(pk=running.pk).status == Status.COMPLETED


def test_a_completion_that_comes_while_the_request_is_committed_charges_nothing() -> None:
    running = _running()
    with transaction.atomic():
        _request(running)
        completion = start_elsewhere(lambda: factories.finish(running))
    with pytest.raises(generations.CancelRequested):
        completion.result()
    cancellation.end_requested(generation=running, now=NOW)
    _assert_free(running)


@pytest.mark.parametrize("leave", ["retry", "put back", "rescue"])
def test_a_marked_generation_never_goes_back_into_the_queue(leave: str) -> None:
    running = _running()
    _request(running)
    if leave == "retry":
        with pytest.raises(generations.LeaseLost):
            generations.retry(generation=running, backoff_seconds=0, detail="", now=NOW)
    elif leave == "put back":
        assert running.lease_token is not None
        assert generations.put_back(lease_tokens=[running.lease_token], now=NOW) == 0
    else:
        assert recovery.rescue(limit=10, now=LEASE_OVER) == []
    assert Generation.objects.get(pk=running.pk).status == Status.RUNNING


@pytest.mark.parametrize("attempt_count", [1, MAX_ATTEMPTS])
def test_a_sweep_cancels_what_was_marked_once_its_worker_is_dead(attempt_count: int) -> None:
    running = _running()
    Generation.objects.filter(pk=running.pk).update(attempt_count=attempt_count)
    _request(running)
    recovery.sweep(now=NOW)
    assert Generation.objects.get(pk=running.pk).status == Status.RUNNING
    recovery.sweep(now=LEASE_OVER)
    _assert_free(running)


def test_a_worker_learns_of_the_request_when_it_renews_its_leases() -> None:
    owner = factories.account()
    marked, other = (factories.generation_in(Status.RUNNING, owner) for _ in range(2))
    _request(marked)
    tokens = [marked.lease_token, other.lease_token]
    assert generations.renew(lease_tokens=[token for token in tokens if token], now=NOW) == {
        marked.lease_token
    }


def test_nothing_is_cancelled_while_it_runs_unless_its_client_asked() -> None:
    running = _running()
    assert not cancellation.end_requested(generation=running, now=NOW)
    assert Generation.objects.get(pk=running.pk).status == Status.RUNNING


def test_a_worker_whose_lease_is_lost_cancels_nothing() -> None:
    former = _running()
    recovery.rescue(limit=10, now=LEASE_OVER)
    heir = factories.claim(generation_id=former.pk, now=LEASE_OVER)
    _request(heir)
    assert not cancellation.end_requested(generation=former, now=LEASE_OVER)
    assert Generation.objects.get(pk=heir.pk).lease_token == heir.lease_token


def test_who_waits_is_told_once_it_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr(
        completion_events, "publish_ended", lambda *, generation_id: told.append(generation_id)
    )
    running, queued = _running(), factories.submit(factories.account())
    _request(running)
    assert told == []
    cancellation.end_requested(generation=running, now=NOW)
    _request(queued)
    assert told == [running.pk, queued.pk]


def _submit_async(owner: Account, **changes: Any) -> Generation:
    return factories.submit(owner, queue_seconds=TTL_SECONDS, **changes)


def test_asynchronous_work_that_no_worker_begins_in_time_is_cancelled_and_free() -> None:
    queued = _submit_async(factories.account())
    recovery.sweep(now=NOW + timedelta(seconds=TTL_SECONDS))
    assert Generation.objects.get(pk=queued.pk).status == Status.QUEUED
    with pytest.raises(generations.NotClaimable):
        factories.claim(generation_id=queued.pk, now=LATE)
    recovery.sweep(now=LATE)
    _assert_free(queued)
    assert queued.error_type == "queue_ttl_exceeded"


def test_asynchronous_work_that_was_begun_in_time_has_its_other_attempts() -> None:
    queued = _submit_async(factories.account())
    running = factories.claim(generation_id=queued.pk, now=NOW)
    generations.retry(generation=running, backoff_seconds=0, detail="", now=NOW)
    recovery.sweep(now=LATE)
    assert factories.claim(generation_id=queued.pk, now=LATE).attempt_count == 2


def test_asynchronous_and_synchronous_work_have_limits_of_their_own() -> None:
    owner = factories.account()
    for _ in range(2):
        _submit_async(owner, open_limit=2)
        factories.submit(owner, open_limit=2)
    for is_async in (True, False):
        with pytest.raises(generations.TooManyQueued if is_async else generations.TooManyOpen):
            factories.submit(owner, open_limit=2, queue_seconds=TTL_SECONDS if is_async else None)
    owner.refresh_from_db()
    assert (owner.open_hold_count, owner.open_async_count) == (4, 2)
    assert [*audit.audit(), *rows.find_disagreements()] == []


def test_asynchronous_work_does_not_put_off_the_accounts_synchronous_turn() -> None:
    owner = factories.account()
    waiting = [_submit_async(owner) for _ in range(3)]
    first, second = (factories.submit(owner) for _ in range(2))
    assert [(each.turn_at - NOW).total_seconds() for each in (*waiting, first, second)] == [0, 5, 10, 0, 5]
    assert (_submit_async(owner).turn_at - NOW).total_seconds() == 25


def test_every_end_of_asynchronous_work_gives_its_place_back() -> None:
    owner = factories.account()
    for end in ("complete", "fail", "cancel", "cancel running", "give up"):
        queued = _submit_async(owner, open_limit=1)
        if end == "cancel":
            _request(queued)
            continue
        running = factories.claim(generation_id=queued.pk, now=NOW)
        if end == "complete":
            factories.finish(running)
        elif end == "fail":
            generations.fail(generation=running, **factories.ERROR, now=NOW)
        elif end == "cancel running":
            _request(running)
            cancellation.end_requested(generation=running, now=NOW)
        else:
            generations.give_up(
                generation=running,
                error_type="x",
                error_code="X",
                now=queued.deadline_at + timedelta(seconds=1),
            )
    owner.refresh_from_db()
    assert (owner.open_hold_count, owner.open_async_count) == (0, 0)
    assert [*audit.audit(), *rows.find_disagreements()] == []
