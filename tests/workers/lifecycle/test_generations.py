"""The life of a generation: every status and every transition, its money, and its races."""

import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from billing import holds, ledger
from billing.audit import audit
from billing.models import LedgerEntry
from storage import images
from storage.models import StoredImage
from tests import factories
from tests.database import start_elsewhere
from tests.factories import NOW
from workers.lifecycle import (
    attempt_statements,
    cancellation,
    generations,
    image_tokens,
    recovery,
    submission,
    transitions,
)
from workers.messaging import completion_events, enqueue
from workers.models import MAX_ATTEMPTS, Generation, SourceImage, Status

pytestmark = pytest.mark.django_db(transaction=True)
LATE = NOW + timedelta(seconds=submission.DEADLINE_SECONDS + 1)
LEASE_OVER = NOW + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)


def _claim(generation: Generation) -> None:
    factories.claim(generation_id=generation.pk, now=NOW)


def _complete(generation: Generation) -> None:
    image = factories.sealed()
    generations.complete(generation=generation, image=image, cost_micros=generation.quote_micros, now=NOW)


def _fail(generation: Generation) -> None:
    generations.fail(generation=generation, **factories.ERROR, now=NOW)


def _retry(generation: Generation) -> None:
    generations.retry(generation=generation, backoff_seconds=0, detail="", now=NOW)


def _put_back(generation: Generation) -> None:
    generations.put_back(lease_tokens=[token for token in [generation.lease_token] if token], now=NOW)


def _cancel(generation: Generation) -> None:
    generations.cancel(generation=generation, error_type="service_busy", error_code="X", now=NOW)


def _give_up(generation: Generation) -> None:
    generations.give_up(generation=generation, error_type="generation_failed", error_code="X", now=LATE)


def _cancel_running(generation: Generation) -> None:
    # The client asks while it runs, and its worker ends it.
    with suppress(cancellation.AlreadyEnded):
        if generation.status == Status.RUNNING:
            cancellation.request(generation=generation, detail="", now=NOW)
    cancellation.end_requested(generation=generation, now=NOW)


def _rescue(_: Generation) -> None:
    recovery.rescue(limit=10, now=LEASE_OVER)


TRANSITIONS = {
    _claim: {Status.QUEUED: Status.RUNNING},
    _complete: {Status.RUNNING: Status.COMPLETED},
    _fail: {Status.RUNNING: Status.FAILED},
    _retry: {Status.RUNNING: Status.QUEUED},
    _put_back: {Status.RUNNING: Status.QUEUED},
    _cancel: {Status.QUEUED: Status.CANCELLED},
    _give_up: {Status.QUEUED: Status.FAILED, Status.RUNNING: Status.FAILED},
    _cancel_running: {Status.RUNNING: Status.CANCELLED},
    _rescue: {Status.RUNNING: Status.QUEUED},
}
REFUSALS = (generations.NotClaimable, generations.LeaseLost, generations.NotQueued)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda transition: transition.__name__)
def test_every_transition_moves_only_from_the_statuses_that_allow_it(transition: Any, status: Any) -> None:
    owner = factories.account()
    generation = factories.generation_in(status, owner)
    expected = TRANSITIONS[transition].get(status, status)
    try:
        transition(generation)
    except REFUSALS:
        assert expected == status
    after = Generation.objects.get(pk=generation.pk)
    assert after.status == expected
    assert list(audit()) == []
    owner.refresh_from_db()
    is_open = after.status in {Status.QUEUED, Status.RUNNING}
    assert owner.reserved_micros == (factories.QUOTE_MICROS if is_open else 0)
    assert owner.spent_micros == (factories.QUOTE_MICROS if after.status == Status.COMPLETED else 0)


def test_the_machine_allows_just_what_its_table_says() -> None:
    reached = {(source, target) for moves in TRANSITIONS.values() for source, target in moves.items()}
    assert reached == {(source, target) for source, targets in transitions.NEXT.items() for target in targets}


@pytest.mark.parametrize("transition", [_complete, _fail, _retry], ids=lambda transition: transition.__name__)
def test_a_worker_whose_lease_went_to_another_changes_nothing(transition: Any) -> None:
    generation = factories.generation_in(Status.RUNNING, factories.account())
    frozen = Generation.objects.get(pk=generation.pk)
    recovery.rescue(limit=10, now=LEASE_OVER)
    heir = factories.claim(generation_id=generation.pk, now=LEASE_OVER)
    with pytest.raises(generations.LeaseLost):
        transition(frozen)
    after = Generation.objects.get(pk=generation.pk)
    assert (after.status, after.lease_token) == (Status.RUNNING, heir.lease_token)
    assert list(audit()) == []


def test_what_is_put_back_has_the_attempts_it_had_and_only_ones_own_is() -> None:
    owner = factories.account()
    mine, other = factories.exhausted(owner), factories.generation_in(Status.RUNNING, owner)
    assert generations.put_back(lease_tokens=[mine.lease_token, uuid.uuid4()], now=LEASE_OVER) == 1
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.status, mine.attempt_count, mine.not_before) == (
        Status.QUEUED,
        MAX_ATTEMPTS - 1,
        LEASE_OVER,
    )
    assert other.status == Status.RUNNING
    assert factories.claim(generation_id=mine.pk, now=LEASE_OVER).attempt_count == MAX_ATTEMPTS


def test_the_next_is_the_one_whose_turn_it_is_and_a_flood_holds_up_nobody_else() -> None:
    flooding, patient = factories.account(), factories.account()
    flood = [factories.submit(flooding) for _ in range(20)]
    other = factories.submit(patient, now=NOW + timedelta(seconds=1))
    claimed = [generations.claim_next(now=NOW + timedelta(seconds=2)).pk for _ in range(3)]
    assert claimed == [flood[0].pk, other.pk, flood[1].pk]


def test_many_that_claim_the_next_at_once_get_one_each() -> None:
    owner = factories.account()
    waiting = [factories.submit(owner).pk for _ in range(10)]
    claimed = factories.at_once(16, lambda _: generations.claim_next(now=NOW))
    assert sorted(row.pk for row in claimed if isinstance(row, Generation)) == waiting
    assert sum(isinstance(row, generations.NotClaimable) for row in claimed) == 6
    assert len({row.lease_token for row in claimed if isinstance(row, Generation)}) == 10


def test_a_claim_passes_over_what_another_is_claiming_and_waits_for_nobody() -> None:
    owner = factories.account()
    first, second = [factories.submit(owner).pk for _ in range(2)]
    with transaction.atomic():
        assert generations.claim_next(now=NOW).pk == first
        other = start_elsewhere(lambda: generations.claim_next(now=NOW).pk)
        waits = not other.done()
    assert (waits, other.result()) == (False, second)


def test_a_claim_does_not_wait_for_the_disk_and_money_does() -> None:
    waits = []
    generation = factories.submit(factories.account())
    with transaction.atomic():
        _claim(generation)
        waits.append(_waits_for_the_disk())
    generation.refresh_from_db()
    image = factories.sealed()
    with transaction.atomic():
        generations.complete(generation=generation, image=image, cost_micros=100, now=NOW)
        waits.append(_waits_for_the_disk())
    assert waits == ["off", "on"]


def _waits_for_the_disk() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW synchronous_commit")
        return str(cursor.fetchone()[0])


@pytest.mark.parametrize("transition", [_retry, _put_back, _rescue], ids=lambda each: each.__name__)
def test_what_comes_back_into_the_queue_is_hinted_at_once(transition: Any) -> None:
    generation = factories.generation_in(Status.RUNNING, factories.account())
    Generation.objects.update(hinted_at=LEASE_OVER)
    transition(generation)
    assert recovery.take_due_hints(limit=10, interval_seconds=15, now=LEASE_OVER) == [generation.pk]


def test_a_generation_keeps_the_time_of_its_first_attempt() -> None:
    generation = factories.generation_in(Status.RUNNING, factories.account())
    recovery.rescue(limit=10, now=LEASE_OVER)
    again = factories.claim(generation_id=generation.pk, now=LEASE_OVER)
    assert (again.attempt_count, again.started_at) == (2, NOW)
    assert again.lease_until == LEASE_OVER + timedelta(seconds=attempt_statements.LEASE_SECONDS)


def test_the_next_is_never_one_that_is_not_due() -> None:
    owner = factories.account()
    resting = factories.claim(generation_id=factories.submit(owner).pk, now=NOW)
    generations.retry(generation=resting, backoff_seconds=60, detail="", now=NOW)
    factories.exhausted(owner)
    with pytest.raises(generations.NotClaimable):
        generations.claim_next(now=NOW + timedelta(seconds=59))
    assert generations.claim_next(now=NOW + timedelta(seconds=60)).pk == resting.pk


def test_submitting_holds_the_quote_and_a_refusal_leaves_nothing() -> None:
    owner = factories.account(balance_micros=factories.QUOTE_MICROS)
    factories.submit(owner)
    with pytest.raises(ledger.InsufficientBalance):
        factories.submit(owner)
    with pytest.raises(generations.TooManyOpen):
        factories.submit(owner, open_limit=1)
    assert Generation.objects.filter(account=owner).count() == 1
    owner.refresh_from_db()
    assert owner.reserved_micros == factories.QUOTE_MICROS


def test_completing_charges_once_and_the_image_expires_a_day_later() -> None:
    owner = factories.account()
    done = factories.generation_in(Status.COMPLETED, owner)
    assert done.cost_micros == factories.QUOTE_MICROS
    assert done.expires_at == done.image.expires_at == NOW + timedelta(hours=24)
    assert done.token_digest == image_tokens.digest_of(token=image_tokens.token_of(generation_id=done.pk))
    kinds = LedgerEntry.objects.filter(account=owner).order_by("sequence").values_list("kind", flat=True)
    assert list(kinds) == ["credit", "hold", "settle"]


def test_on_the_databases_own_clock_both_rows_expire_at_the_same_instant() -> None:
    running = factories.claim(generation_id=factories.submit(factories.account(), now=None).pk)
    generations.complete(generation=running, image=factories.sealed(), cost_micros=running.quote_micros)
    done = Generation.objects.select_related("image").get(pk=running.pk)
    assert done.expires_at == done.image.expires_at
    assert done.expires_at - done.ended_at == attempt_statements.IMAGE_LIFE


def test_a_lost_completion_records_no_image() -> None:
    frozen = factories.generation_in(Status.RUNNING, factories.account())
    _give_up(frozen)
    before = StoredImage.objects.count()
    with pytest.raises(generations.LeaseLost):
        _complete(frozen)
    assert StoredImage.objects.count() == before


@pytest.mark.parametrize(
    ("end", "is_claimed"),
    [(_complete, True), (_fail, True), (_cancel, False), (_give_up, False), (_give_up, True)],
)
def test_source_images_are_unreadable_once_their_generation_ends(end: Any, is_claimed: bool) -> None:
    owner = factories.account()
    edit, other = [
        factories.submit(
            owner, kind="edit", sources=[[factories.sealed(b"first"), factories.sealed(b"second")]]
        )
        for _ in range(2)
    ]
    end(factories.claim(generation_id=edit.pk, now=NOW) if is_claimed else edit)
    for source in SourceImage.objects.filter(generation=edit).select_related("image"):
        assert source.image.wrapped_key is None
        with pytest.raises(images.ImageGone):
            images.load(image=source.image)
    sources = SourceImage.objects.filter(generation=other).select_related("image").order_by("position")
    assert [images.load(image=source.image) for source in sources] == [b"first", b"second"]


def test_nothing_is_claimed_too_early_too_late_or_too_often() -> None:
    owner = factories.account()
    generation = factories.submit(owner)
    with pytest.raises(generations.NotClaimable):
        factories.claim(generation_id=generation.pk, now=NOW - timedelta(seconds=1))
    with pytest.raises(generations.NotClaimable):
        factories.claim(generation_id=generation.pk, now=LATE)
    last = factories.exhausted(owner)
    with pytest.raises(generations.LeaseLost):
        generations.retry(generation=last, backoff_seconds=0, detail="", now=NOW)
    assert last.attempt_count == MAX_ATTEMPTS


def test_a_lease_is_renewed_in_one_statement_and_lost_ones_are_named(
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    owner = factories.account()
    mine = [factories.generation_in(Status.RUNNING, owner) for _ in range(3)]
    held = {generation.lease_token for generation in mine}
    with django_assert_num_queries(1):
        assert generations.renew(lease_tokens=held, now=LEASE_OVER) == set()
    assert recovery.rescue(limit=10, now=LEASE_OVER + timedelta(seconds=1)) == []
    stranger = uuid.uuid4()
    assert generations.renew(lease_tokens={*held, stranger}, now=NOW) == {stranger}


def test_a_lease_that_is_not_named_is_not_renewed() -> None:
    mine, others = [factories.generation_in(Status.RUNNING, factories.account()) for _ in range(2)]
    generations.renew(lease_tokens={mine.lease_token}, now=LEASE_OVER)
    assert recovery.rescue(limit=10, now=LEASE_OVER + timedelta(seconds=1)) == [others.pk]


def test_what_is_queued_after_all_its_attempts_is_not_claimed() -> None:
    generation = factories.submit(factories.account())
    Generation.objects.filter(pk=generation.pk).update(attempt_count=MAX_ATTEMPTS)
    with pytest.raises(generations.NotClaimable):
        _claim(generation)


@pytest.mark.parametrize(
    ("end", "status"), [(_complete, Status.RUNNING), (_fail, Status.RUNNING), (_cancel, Status.QUEUED)]
)
def test_no_generation_ends_unless_its_money_moves_with_it(end: Any, status: Any) -> None:
    generation = factories.generation_in(status, factories.account())
    with transaction.atomic():
        holds.release(reservation_id=generation.reservation_id)
    with pytest.raises(holds.AlreadyResolved):
        end(generation)
    row = Generation.objects.get(pk=generation.pk)
    assert (row.status, row.image_id, row.ended_at) == (status, None, None)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (_complete, Status.RUNNING),
        (_fail, Status.RUNNING),
        (_cancel, Status.QUEUED),
        (_give_up, Status.QUEUED),
    ],
)
def test_an_end_is_told_once_it_is_committed(end: Any, status: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = factories.generation_in(status, factories.account())
    told: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        completion_events,
        "publish_ended",
        lambda *, generation_id: told.append((generation_id, connection.in_atomic_block)),
    )
    end(generation)
    assert told == [(generation.pk, False)]


def test_a_message_is_sent_once_its_generation_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, bool]] = []
    monkeypatch.setattr(
        enqueue,
        "send",
        lambda *, generation_id: sent.append((generation_id, connection.in_atomic_block)),
    )
    with transaction.atomic():
        accepted = factories.submit(factories.account())
        assert sent == []
    assert sent == [(accepted.pk, False)]


def test_of_a_hundred_claims_at_once_one_wins() -> None:
    generation = factories.submit(factories.account())
    results = factories.at_once(100, lambda _: generations.claim_next(now=NOW))
    assert sum(isinstance(result, Generation) for result in results) == 1
    assert sum(isinstance(result, generations.NotClaimable) for result in results) == 99
    assert Generation.objects.get(pk=generation.pk).attempt_count == 1


def test_of_64_submissions_against_money_for_25_exactly_25_are_accepted() -> None:
    owner = factories.account(balance_micros=25 * factories.QUOTE_MICROS)
    results = factories.at_once(64, lambda _: factories.submit(owner))
    assert sum(isinstance(result, Generation) for result in results) == 25
    assert sum(isinstance(result, ledger.InsufficientBalance) for result in results) == 39
    owner.refresh_from_db()
    assert owner.reserved_micros == owner.balance_micros
    assert list(audit()) == []


def test_of_64_submissions_under_a_limit_of_five_exactly_five_are_accepted() -> None:
    owner = factories.account()
    results = factories.at_once(64, lambda _: factories.submit(owner, open_limit=5))
    assert sum(isinstance(result, Generation) for result in results) == 5
    assert sum(isinstance(result, generations.TooManyOpen) for result in results) == 59


def test_completing_and_giving_up_at_once_leave_one_end() -> None:
    owner = factories.account()
    running = factories.generation_in(Status.RUNNING, owner)
    image = factories.sealed()
    ends = [
        lambda: generations.complete(
            generation=running, image=image, cost_micros=factories.QUOTE_MICROS, now=NOW
        ),
        lambda: _give_up(running),
    ]
    factories.at_once(2, lambda index: ends[index]())
    owner.refresh_from_db()
    assert owner.reserved_micros == 0
    assert list(audit()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "completed"},
        {"status": "running"},
        {"status": "failed"},
        {"status": "lost"},
        {"cost_micros": factories.QUOTE_MICROS},
        {"attempt_count": MAX_ATTEMPTS + 1},
        {"lease_token": uuid.UUID(int=1)},
    ],
    ids=str,
)
def test_the_database_refuses_a_row_that_contradicts_itself(changes: Any) -> None:
    generation = factories.submit(factories.account())
    with pytest.raises(IntegrityError):
        Generation.objects.filter(pk=generation.pk).update(**changes)
