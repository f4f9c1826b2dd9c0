"""Writes to generations: submission, claim and exactly one end, each together with its money.

Each transition is one guarded UPDATE (transitions.py) that changes exactly one row or raises. Locks are taken
in the order generation, account, so that two transitions cannot wait for each other. Knows neither HTTP nor pictures.
"""

import uuid
from collections.abc import Collection
from contextlib import suppress
from datetime import timedelta
from functools import partial

from django.contrib.postgres.functions import TransactionNow
from django.db import transaction
from django.db.models import F, Q, Subquery
from django.db.models.functions import Coalesce, Now

from billing import ledger
from storage import failpoints, images, statements
from storage.models import StoredImage
from storage.statements import Statement, given
from workers.catalogue import catalogue
from workers.lifecycle import eligibility, idempotency, image_tokens
from workers.lifecycle.submission import Submission, build_row
from workers.lifecycle.transitions import compile_move, move, move_all
from workers.messaging import completion_events, enqueue
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Kind, SourceImage, Status, Timestamp

# A worker renews its leases every few seconds. Without a renewal for this time, it counts as dead.
LEASE_SECONDS = 30
# The published promise: a client can fetch an image for a day after it was made.
IMAGE_LIFE = timedelta(hours=24)


class TooManyOpen(Exception):
    """The account has reached its limit of open generations."""


class NotClaimable(Exception):
    """The generation is not queued, is not due yet, is past its deadline, or has no attempt left."""


class LeaseLost(Exception):
    """The generation no longer runs under this lease, and its former holder must change nothing."""


class NotQueued(Exception):
    """The generation has left the queue, so it cannot be cancelled."""


def submit(*, submission: Submission, open_limit: int, now: Timestamp = Now()) -> Generation:
    """Hold the quote and queue the generation in one transaction, and send its hint after the commit.

    Raise AlreadyAccepted, KeyReused, TooManyOpen, InsufficientBalance or AccountSuspended. Then nothing is held or
    queued.
    """
    with transaction.atomic():
        held = _hold(submission, open_limit, now)
        generation = build_row(submission=submission, held=held, now=now)
        statements.insert(generation)
        for position, image in enumerate(submission.sources, start=1):
            SourceImage.objects.create(
                generation=generation, position=position, image=images.record(image=image)
            )
        if submission.idempotency:
            idempotency.remember(generation=generation, idempotency=submission.idempotency, now=now)
        transaction.on_commit(partial(_send_message, generation.pk))
    return generation


def claim_next(*, models: Collection[str] | None = None, now: Timestamp = Now()) -> Generation:
    """Claim the generation whose turn it is, of these models or of all. Raise NotClaimable if none is due."""
    for model in eligibility.models_by_turn(models=catalogue().keys() if models is None else models, now=now):
        with suppress(NotClaimable):
            return _claim(statements.written(_compile_claim, now), model=model)
    raise NotClaimable


def renew(*, lease_tokens: Collection[uuid.UUID], now: Timestamp = Now()) -> set[uuid.UUID]:
    """Prolong all leases of a worker in one statement, and return the tokens of lost leases."""
    mine = Generation.objects.filter(status=Status.RUNNING, lease_token__in=lease_tokens)
    if mine.update(lease_until=now + timedelta(seconds=LEASE_SECONDS)) == len(lease_tokens):
        return set()
    return set(lease_tokens) - set(mine.values_list("lease_token", flat=True))


def complete(
    *, generation: Generation, image: StoredImage, cost_micros: int, now: Timestamp = TransactionNow()
) -> None:
    """Move running → completed and charge the cost in one transaction. Raise LeaseLost if the lease was lost.

    The clock is the transaction's, so that the image's row and the generation's expire at the same instant.
    """
    with transaction.atomic():
        moved = statements.written(_compile_completion, now).row(
            generation_id=generation.pk,
            lease_token=generation.lease_token,
            image_id=images.record(image=image, expires_at=now + IMAGE_LIFE).pk,
            cost_micros=cost_micros,
            token_digest=image_tokens.digest_of(token=image_tokens.token_of(generation_id=generation.pk)),
        )
        if moved is None:
            raise LeaseLost
        ledger.settle(reservation_id=generation.reservation_id, cost_micros=cost_micros)
        failpoints.reach("settling")
        _destroy_sources_and_notify(generation)


def fail(
    *, generation: Generation, error_type: str, error_code: str, detail: str, now: Timestamp = Now()
) -> None:
    """Move running → failed and release the hold. Raise LeaseLost if the lease was lost."""
    if not _end_unpaid(
        generation,
        Status.RUNNING,
        Status.FAILED,
        guard=Q(lease_token=generation.lease_token),
        ended_at=now,
        error_type=error_type,
        error_code=error_code,
        error_detail=detail,
    ):
        raise LeaseLost


def retry(*, generation: Generation, backoff_seconds: float, detail: str, now: Timestamp = Now()) -> None:
    """Move running → queued, due again after the backoff. Raise LeaseLost without the lease or an attempt left."""
    moved = move(
        generation.pk,
        Status.RUNNING,
        Status.QUEUED,
        guard=Q(lease_token=generation.lease_token, attempt_count__lt=MAX_ATTEMPTS),
        not_before=now + timedelta(seconds=backoff_seconds),
        hinted_at=None,
        error_detail=detail,
    )
    if not moved:
        raise LeaseLost


def put_back(*, lease_tokens: Collection[uuid.UUID], now: Timestamp = Now()) -> int:
    """Move running → queued all generations under these leases without counting the attempt; return their number.

    A worker that stops calls it, because its attempts have not failed. A second call changes nothing.
    """
    mine = Q(lease_token__in=lease_tokens)
    return move_all(
        mine,
        Status.RUNNING,
        Status.QUEUED,
        attempt_count=F("attempt_count") - 1,
        not_before=now,
        hinted_at=None,
    )


def cancel(*, generation: Generation, error_type: str, error_code: str, now: Timestamp = Now()) -> None:
    """Move queued → cancelled and release the hold. Raise NotQueued if it is claimed already or has ended."""
    if not _end_unpaid(
        generation,
        Status.QUEUED,
        Status.CANCELLED,
        guard=Q(),
        ended_at=now,
        error_type=error_type,
        error_code=error_code,
        error_detail="no worker claimed it before its client stopped waiting",
    ):
        raise NotQueued


def give_up(*, generation: Generation, error_type: str, error_code: str, now: Timestamp = Now()) -> bool:
    """Move an overdue generation from open to failed and release its hold; return True if it was overdue.

    It is overdue after its deadline, and after the end of its lease at the last attempt.
    """
    return any(
        _end_unpaid(
            generation,
            source,
            Status.FAILED,
            guard=eligibility.overdue(now),
            ended_at=now,
            error_type=error_type,
            error_code=error_code,
            error_detail=generation.error_detail or "its deadline passed, or its last worker died",
        )
        for source in OPEN_STATUSES
    )


def _claim(statement: Statement[Generation], **given: object) -> Generation:
    claimed = statement.one(lease_token=uuid.uuid4(), **given)
    if claimed is None:
        raise NotClaimable
    failpoints.reach("claimed")
    return claimed


def _compile_claim(now: Timestamp) -> Statement[Generation]:
    queue = eligibility.queue_for(model=given("model"), now=now)
    first = queue.select_for_update(skip_locked=True, no_key=True).values("pk")[:1]
    return _compile_claim_of(Q(pk=Subquery(first)), now)


def _compile_claim_of(which: Q, now: Timestamp) -> Statement[Generation]:
    """Build the statement that claims the generation.

    A crash of the database may forget a claim. The row is then queued again, and the worker's lease is lost.
    """
    return compile_move(
        which & eligibility.claimable(now),
        Status.QUEUED,
        Status.RUNNING,
        may_be_lost=True,
        attempt_count=F("attempt_count") + 1,
        lease_token=given("lease_token"),
        lease_until=now + timedelta(seconds=LEASE_SECONDS),
        started_at=Coalesce("started_at", now),
    )


def _compile_completion(now: Timestamp) -> Statement[Generation]:
    return compile_move(
        Q(pk=given("generation_id"), lease_token=given("lease_token")),
        Status.RUNNING,
        Status.COMPLETED,
        image=given("image_id"),
        cost_micros=given("cost_micros"),
        token_digest=given("token_digest"),
        expires_at=now + IMAGE_LIFE,
        ended_at=now,
    )


def _hold(submission: Submission, open_limit: int, now: Timestamp) -> ledger.Hold:
    """Hold the quote under the lock of the account's row, which makes the account's submissions take turns.

    The lock lets the second of two equal requests find the first one.
    """
    who, named = submission.account_id, submission.idempotency
    try:
        held = ledger.hold(account_id=who, quote_micros=submission.quote_micros, open_limit=open_limit)
    except (ledger.TooManyHolds, ledger.InsufficientBalance) as refusal:
        # An equal request may have been accepted just now. Its generation then answers both requests.
        idempotency.refuse_accepted(account_id=who, idempotency=named, now=now)
        if isinstance(refusal, ledger.TooManyHolds):
            raise TooManyOpen from refusal
        raise
    idempotency.refuse_accepted(account_id=who, idempotency=named, now=now)
    return held


def _send_message(generation_id: int) -> None:
    failpoints.reach("submitted")
    enqueue.send(generation_id=generation_id)


def _end_unpaid(
    generation: Generation, source: Status, target: Status, *, guard: Q, **changes: object
) -> bool:
    with transaction.atomic():
        moved = move(generation.pk, source, target, guard=guard, **changes)
        if moved:
            ledger.release(reservation_id=generation.reservation_id)
            _destroy_sources_and_notify(generation)
    return moved


def _destroy_sources_and_notify(generation: Generation) -> None:
    """Destroy the keys of the source images, and wake the waiters after the commit.

    The purge deletes the bytes of the images later.
    """
    if generation.kind == Kind.EDIT:
        images.destroy_keys(image_ids=generation.sources.values_list("image_id", flat=True))
    transaction.on_commit(partial(_publish_ended, generation.pk))


def _publish_ended(generation_id: int) -> None:
    failpoints.reach("ended")
    completion_events.publish_ended(generation_id=generation_id)
