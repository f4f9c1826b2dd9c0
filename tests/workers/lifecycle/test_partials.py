"""Delivery of partial images: to the owner of a running generation alone, until too many were cancelled."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from billing.models import Account
from tests import factories
from tests.factories import NOW
from workers.lifecycle import cancellation, generations, operator_cancellation, partials
from workers.lifecycle.partials import MAX_CANCELLED, PartialsSuspended
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


def deliver(generation: Generation) -> Generation | None:
    return partials.mark_delivered(account_id=generation.account_id, generation_id=generation.pk)


def cancelled(owner: Account, at: Sequence[datetime], *, is_delivered: bool = True) -> None:
    """Cancel generations at these times, after their partial images were delivered."""
    for time in at:
        running = factories.generation_in(Status.RUNNING, owner)
        if is_delivered:
            assert deliver(running)
        cancellation.request(generation=running, detail="its client asked", now=time)
        assert cancellation.end_requested(generation=running, now=time)


def is_suspended(owner: Account, now: datetime) -> bool:
    try:
        partials.refuse_if_suspended(account_id=owner.pk, now=now)
    except PartialsSuspended:
        return True
    return False


def test_a_running_generation_gets_its_partial_images_and_its_row_tells_it() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    for _ in range(3):
        row = deliver(running)
        assert row is not None
        assert row.are_partials_delivered


@pytest.mark.parametrize("status", [status for status in Status if status != Status.RUNNING])
def test_no_other_generation_gets_any(status: Status) -> None:
    generation = factories.generation_in(status, factories.account())
    assert deliver(generation) is None
    generation.refresh_from_db()
    assert not generation.are_partials_delivered


def test_a_generation_that_is_to_be_cancelled_gets_none_any_more() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    assert deliver(running)
    cancellation.request(generation=running, detail="its client asked", now=NOW)
    assert deliver(running) is None


def test_a_foreign_account_gets_none() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    stranger = factories.account()
    assert partials.mark_delivered(account_id=stranger.pk, generation_id=running.pk) is None
    running.refresh_from_db()
    assert not running.are_partials_delivered


def test_more_than_twenty_in_a_day_suspend_partial_images_for_a_day() -> None:
    owner, other = factories.account(), factories.account()
    times = [NOW + minute * MINUTE for minute in range(MAX_CANCELLED)]
    cancelled(owner, times)
    assert not is_suspended(owner, times[-1] + MINUTE)
    last = NOW + DAY - MINUTE
    cancelled(owner, [last])
    assert is_suspended(owner, last + MINUTE)
    # The first of them is more than a day ago by now. The suspension still lasts a day from the last one.
    assert is_suspended(owner, last + DAY - MINUTE)
    assert not is_suspended(owner, last + DAY + MINUTE)
    assert not is_suspended(other, last + MINUTE)


def test_a_burst_suspends_for_a_day_after_its_last_one() -> None:
    owner = factories.account()
    last = NOW + MAX_CANCELLED * MINUTE
    cancelled(owner, [NOW + minute * MINUTE for minute in range(MAX_CANCELLED + 1)])
    assert is_suspended(owner, last + DAY - MINUTE)
    assert not is_suspended(owner, last + DAY + MINUTE)


def test_twenty_one_in_more_than_a_day_suspend_nothing() -> None:
    owner = factories.account()
    cancelled(owner, [NOW, *(NOW + DAY + minute * MINUTE for minute in range(MAX_CANCELLED))])
    assert not is_suspended(owner, NOW + DAY + MAX_CANCELLED * MINUTE)


def test_what_was_never_delivered_or_ended_otherwise_does_not_count() -> None:
    owner = factories.account()
    cancelled(owner, [NOW] * 12, is_delivered=False)
    cancelled(owner, [NOW] * MAX_CANCELLED)
    for _ in range(3):
        running = factories.generation_in(Status.RUNNING, owner)
        assert deliver(running)
        generations.fail(generation=running, **factories.ERROR, now=NOW)
    queued = factories.submit(owner)
    Generation.objects.filter(pk=queued.pk).update(are_partials_delivered=True)
    generations.cancel(generation=queued, error_type="queue_ttl_exceeded", error_code="X", now=NOW)
    assert not is_suspended(owner, NOW + MINUTE)


def test_what_an_operator_cancelled_does_not_count() -> None:
    owner = factories.account()
    cancelled(owner, [NOW] * MAX_CANCELLED)
    running = factories.generation_in(Status.RUNNING, owner)
    assert deliver(running)
    operator_cancellation.cancel(generation_id=running.pk, operator="bob", reason="asked by mail")
    assert cancellation.end_requested(generation=running, now=NOW)
    running.refresh_from_db()
    assert (running.status, running.are_partials_delivered) == (Status.CANCELLED, True)
    assert not is_suspended(owner, NOW + MINUTE)
    cancelled(owner, [NOW])
    assert is_suspended(owner, NOW + MINUTE)
