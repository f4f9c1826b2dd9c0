"""Every write to a generation: it is submitted, claimed, and brought to exactly one end, with its money.

Each transition is one guarded UPDATE (transitions.py) that changes exactly one row or raises. Locks are taken
in the order generation, account, so that two transitions cannot wait for each other. Knows nothing of HTTP or pictures.
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
from workers.lifecycle.submission import Submission, queued
from workers.lifecycle.transitions import move, move_all, moving
from workers.messaging import completion_events, enqueue
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Kind, SourceImage, Status, Timestamp

# A worker renews its leases every few seconds; one that misses this many seconds is taken for dead.
LEASE_SECONDS = 30
# What is published: an image can be fetched for a day after it was made.
IMAGE_LIFE = timedelta(hours=24)


class TooManyOpen(Exception):
    """The account has as many generations queued and running as it may have at once."""


class NotClaimable(Exception):
    """The generation is not queued, not yet or no longer due, or has had all its attempts."""


class LeaseLost(Exception):
    """The generation is not running under this lease any more; whoever held it must touch nothing."""


class NotQueued(Exception):
    """The generation has left the queue, so it cannot be cancelled."""


def submit(*, submission: Submission, open_limit: int, now: Timestamp = Now()) -> Generation:
    """Holds the quote and queues the generation, in one transaction; afterwards sends its hint.

    Raises AlreadyAccepted, KeyReused, TooManyOpen, InsufficientBalance or AccountSuspended, and then nothing was
    held or queued.
    """
    with transaction.atomic():
        held = _hold(submission, open_limit, now)
        generation = queued(submission=submission, held=held, now=now)
        statements.insert(generation)
        for position, image in enumerate(submission.sources, start=1):
            SourceImage.objects.create(
                generation=generation, position=position, image=images.record(image=image)
            )
        if submission.idempotency:
            idempotency.remember(generation=generation, idempotency=submission.idempotency, now=now)
        transaction.on_commit(partial(_after_the_start, generation.pk))
    return generation


def claim_next(*, models: Collection[str] | None = None, now: Timestamp = Now()) -> Generation:
    """The same for the one of these models, or of all, whose turn it is; raises NotClaimable where none is due."""
    for model in eligibility.models_by_turn(models=catalogue().keys() if models is None else models, now=now):
        with suppress(NotClaimable):
            return _claim(statements.written(_claim_of_the_first, now), model=model)
    raise NotClaimable


def renew(*, lease_tokens: Collection[uuid.UUID], now: Timestamp = Now()) -> set[uuid.UUID]:
    """Prolongs all of a worker's leases in one statement; returns those it has lost."""
    mine = Generation.objects.filter(status=Status.RUNNING, lease_token__in=lease_tokens)
    if mine.update(lease_until=now + timedelta(seconds=LEASE_SECONDS)) == len(lease_tokens):
        return set()
    return set(lease_tokens) - set(mine.values_list("lease_token", flat=True))


def complete(
    *, generation: Generation, image: StoredImage, cost_micros: int, now: Timestamp = TransactionNow()
) -> None:
    """running → completed and charged, in one transaction, if the lease is still ours; else raises LeaseLost.

    The clock is the transaction's, so that the image's row and the generation's expire at the same instant.
    """
    with transaction.atomic():
        moved = statements.written(_completion, now).row(
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
        _after_the_end(generation)


def fail(
    *, generation: Generation, error_type: str, error_code: str, detail: str, now: Timestamp = Now()
) -> None:
    """running → failed and free, if the lease is still ours; else raises LeaseLost."""
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
    """running → queued until the backoff is over, if the lease is ours and an attempt is left; else LeaseLost."""
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
    """running → queued for all that are ours, as though these attempts had not been; says how many. Called twice,
    the second changes nothing. For a worker that stops: its attempts failed at nothing.
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
    """queued → cancelled and free; raises NotQueued when a worker was faster or it has ended."""
    if not _end_unpaid(
        generation,
        Status.QUEUED,
        Status.CANCELLED,
        guard=Q(),
        ended_at=now,
        error_type=error_type,
        error_code=error_code,
        error_detail="no worker had come to it when its client stopped waiting",
    ):
        raise NotQueued


def give_up(*, generation: Generation, error_type: str, error_code: str, now: Timestamp = Now()) -> bool:
    """open → failed and free, if its deadline is over, or its lease at the last attempt; says whether it was."""
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


def _claim_of_the_first(now: Timestamp) -> Statement[Generation]:
    queue = eligibility.queue_for(model=given("model"), now=now)
    first = queue.select_for_update(skip_locked=True, no_key=True).values("pk")[:1]
    return _claiming(Q(pk=Subquery(first)), now)


def _claiming(which: Q, now: Timestamp) -> Statement[Generation]:
    """A claim that a crash of the database forgets never was: the row waits again, and the lease is lost."""
    return moving(
        which & eligibility.claimable(now),
        Status.QUEUED,
        Status.RUNNING,
        may_be_lost=True,
        attempt_count=F("attempt_count") + 1,
        lease_token=given("lease_token"),
        lease_until=now + timedelta(seconds=LEASE_SECONDS),
        started_at=Coalesce("started_at", now),
    )


def _completion(now: Timestamp) -> Statement[Generation]:
    return moving(
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
    """From here on the account's submissions take turns, so that a request and its twin are told apart."""
    who, named = submission.account_id, submission.idempotency
    try:
        held = ledger.hold(account_id=who, quote_micros=submission.quote_micros, open_limit=open_limit)
    except (ledger.TooManyHolds, ledger.InsufficientBalance) as refusal:
        # What its twin has just been given is the answer to both.
        idempotency.refuse_accepted(account_id=who, idempotency=named, now=now)
        if isinstance(refusal, ledger.TooManyHolds):
            raise TooManyOpen from refusal
        raise
    idempotency.refuse_accepted(account_id=who, idempotency=named, now=now)
    return held


def _after_the_start(generation_id: int) -> None:
    failpoints.reach("submitted")
    enqueue.send(generation_id=generation_id)


def _end_unpaid(
    generation: Generation, source: Status, target: Status, *, guard: Q, **changes: object
) -> bool:
    with transaction.atomic():
        moved = move(generation.pk, source, target, guard=guard, **changes)
        if moved:
            ledger.release(reservation_id=generation.reservation_id)
            _after_the_end(generation)
    return moved


def _after_the_end(generation: Generation) -> None:
    """Source images are unreadable once the end is committed; then waiters wake. Their bytes go with the purge."""
    if generation.kind == Kind.EDIT:
        images.destroy_keys(image_ids=generation.sources.values_list("image_id", flat=True))
    transaction.on_commit(partial(_tell_of_the_end, generation.pk))


def _tell_of_the_end(generation_id: int) -> None:
    failpoints.reach("ended")
    completion_events.publish_ended(generation_id=generation_id)
