"""Writes to generations: submission, claim and exactly one end, each together with its money.

Each transition is one guarded UPDATE (transitions.py) that changes exactly one row or raises. Locks are taken
in the order generation, account, so that two transitions cannot wait for each other. Knows neither HTTP nor pictures.
"""

import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial
from typing import Final, NoReturn

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from billing import holds, key_spending
from storage import failpoints, images
from storage.models import StoredImage
from storage.postgresql import plain_sql
from workers import metrics, tracing
from workers.catalogue import catalogue
from workers.engine.interface import PromptTokens
from workers.lifecycle import attempt_statements, eligibility, idempotency, image_tokens
from workers.lifecycle.made_pictures import UNMARKED, Mark
from workers.lifecycle.submission import Submission, insert
from workers.lifecycle.transitions import move, move_all
from workers.messaging import completion_events, enqueue
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Kind, Status, Timestamp
from workers.webhooks import events, outbox

# A reason against a submission may be gone when it is asked, and then the submission is tried again.
MAX_TRIES: Final = 10


class TooManyOpen(Exception):
    """The account, or the API key, has reached its limit of open generations."""

    def __init__(self, limit: int, *, owner: str = "account") -> None:
        super().__init__(
            f"This {owner} has too many open generations. At most {limit} are allowed. Wait until one ends."
        )


class TooManyQueued(Exception):
    """The account has reached its limit of open asynchronous generations."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"This account has too many open asynchronous generations. At most {limit} are allowed."
            " Wait until one ends."
        )


class NotClaimable(Exception):
    """The generation is not queued, is not due yet, is past its deadline, or has no attempt left."""


class LeaseLost(Exception):
    """The generation no longer runs under this lease, and its former holder must change nothing."""


class CancelRequested(Exception):
    """The generation's client asked to cancel it, so it cannot be completed."""


class NotQueued(Exception):
    """The generation has left the queue, so it cannot be cancelled."""


def submit(*, submission: Submission, open_limit: int, now: datetime | None = None) -> list[Generation]:
    """Hold the quotes, queue the generations in one statement, and send their hints after the commit.

    Raise AlreadyAccepted, KeyReused, InvalidKey, TooManyOpen or TooManyQueued, InsufficientBalance, KeySpendLimit or
    AccountSuspended. Then nothing is held or queued.
    """
    for _ in range(MAX_TRIES):
        if accepted := insert(submission=submission, open_limit=open_limit, now=now):
            for generation in accepted:
                transaction.on_commit(partial(_send_message, generation.pk))
            return accepted
        _refuse(submission, open_limit, now)
    raise RuntimeError(
        f"{MAX_TRIES} times there was a reason against a submission, and none when it was asked."
    )


def claim_next(*, models: Collection[str] | None = None, now: datetime | None = None) -> Generation:
    """Claim the generation whose turn it is, of these models or of all. Raise NotClaimable if none is due."""
    for model in eligibility.models_by_turn(models=catalogue().keys() if models is None else models, now=now):
        values = {"model": model, "lease_token": uuid.uuid4(), "now": now}
        if rows := plain_sql.execute(attempt_statements.CLAIM, values):
            *columns, webhook_count, _ = rows[0]
            outbox.wake_soon(webhook_count)
            failpoints.reach("claimed")
            claimed = plain_sql.instance(Generation, columns)
            _time_wait(claimed)
            return claimed
    raise NotClaimable


def renew(*, lease_tokens: Collection[uuid.UUID], now: datetime | None = None) -> set[uuid.UUID]:
    """Prolong all leases of a worker in one statement, and return the tokens of attempts that are not wanted any more.

    Such a lease is lost, or its generation's client has asked to cancel it.
    """
    renewed = plain_sql.execute(attempt_statements.RENEW, {"lease_tokens": list(lease_tokens), "now": now})
    return set(lease_tokens) - {lease_token for lease_token, is_wanted in renewed if is_wanted}


def complete(
    *,
    generation: Generation,
    image: StoredImage,
    cost_micros: int,
    prompt_tokens: PromptTokens | None = None,
    mark: Mark = UNMARKED,
    now: datetime | None = None,
) -> None:
    """Move running → completed, record the image and charge the cost in one statement.

    `prompt_tokens` is what the engine told of the prompt. Raise LeaseLost or CancelRequested, or AlreadyResolved if the
    hold was resolved. Then nothing has changed.
    """
    failpoints.reach("settling")
    completed = plain_sql.execute(
        attempt_statements.COMPLETE,
        {
            "generation_id": generation.pk,
            "lease_token": generation.lease_token,
            "token_digest": image_tokens.digest_of(token=image_tokens.token_of(generation_id=generation.pk)),
            "prompt_tokens": prompt_tokens and prompt_tokens.read,
            "prompt_tokens_read": prompt_tokens.read if prompt_tokens and prompt_tokens.are_cut else None,
            **mark._asdict(),
            "now": now,
            **holds.settle_values(cost_micros=cost_micros),
            **images.record_values([image]),
        },
    )
    if not completed:
        _refuse_completion(generation, cost_micros)
    [(webhook_count,)] = completed
    transaction.on_commit(partial(metrics.count_completion, generation, cost_micros))
    _notify(generation)
    outbox.wake_soon(webhook_count)


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
    """Move running → queued, due again after the backoff.

    Raise LeaseLost without the lease or an attempt left, and for a generation that is to be cancelled.
    """
    moved = move(
        generation.pk,
        Status.RUNNING,
        Status.QUEUED,
        guard=_wanted(lease_token=generation.lease_token, attempt_count__lt=MAX_ATTEMPTS),
        not_before=now + timedelta(seconds=backoff_seconds),
        hinted_at=None,
        error_detail=detail,
    )
    if not moved:
        raise LeaseLost


def put_back(*, lease_tokens: Collection[uuid.UUID], now: Timestamp = Now()) -> int:
    """Move running → queued all generations under these leases without counting the attempt; return their number.

    A worker that stops calls it, because its attempts have not failed. A generation that is to be cancelled stays as it
    is. A second call changes nothing.
    """
    return move_all(
        _wanted(lease_token__in=lease_tokens),
        Status.RUNNING,
        Status.QUEUED,
        attempt_count=F("attempt_count") - 1,
        not_before=now,
        hinted_at=None,
    )


def cancel(
    *,
    generation: Generation,
    error_type: str,
    error_code: str,
    detail: str = "",
    guard: Q = Q(),
    now: Timestamp = Now(),
) -> None:
    """Move queued → cancelled and release the hold. Raise NotQueued if it is claimed already or has ended."""
    if not _end_unpaid(
        generation,
        Status.QUEUED,
        Status.CANCELLED,
        guard=guard,
        ended_at=now,
        error_type=error_type,
        error_code=error_code,
        error_detail=detail,
    ):
        raise NotQueued


def cancel_running(
    *,
    generation: Generation,
    error_type: str,
    error_code: str,
    guard: Q,
    now: Timestamp = Now(),
) -> bool:
    """Move running → cancelled and release the hold, if the client asked for it. Return whether it moved.

    `guard` says who may: the holder of the lease, or anybody once the lease is over.
    """
    return _end_unpaid(
        generation,
        Status.RUNNING,
        Status.CANCELLED,
        guard=guard & Q(cancel_requested_at__isnull=False),
        ended_at=now,
        error_type=error_type,
        error_code=error_code,
    )


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


def _time_wait(claimed: Generation) -> None:
    """Measure the wait of a generation that is claimed for the first time, by the clock of the database."""
    assert claimed.lease_until is not None
    assert claimed.started_at is not None
    if claimed.lease_until - claimed.started_at == timedelta(seconds=attempt_statements.LEASE_SECONDS):
        metrics.time_wait(claimed, (claimed.started_at - claimed.created_at).total_seconds())
        tracing.record(
            "wait",
            parent=claimed.traceparent,
            started_at=claimed.created_at.timestamp(),
            ended_at=claimed.started_at.timestamp(),
            generation_id=claimed.pk,
            model=claimed.model,
        )


def _refuse_completion(generation: Generation, cost_micros: int) -> NoReturn:
    leased = Generation.objects.filter(pk=generation.pk, status=Status.RUNNING)
    row = leased.filter(lease_token=generation.lease_token).first()
    if row is None:
        raise LeaseLost
    if row.cancel_requested_at is not None:
        raise CancelRequested
    holds.refuse_settlement(reservation_id=generation.reservation_id, cost_micros=cost_micros)


def _refuse(submission: Submission, open_limit: int, now: datetime | None) -> None:
    """Raise the reason why the statement accepted nothing. Without a reason now, it is worth another try."""
    who = submission.account_id
    # An equal request may have been accepted just now. Its generation then answers both requests.
    if (named := submission.idempotency) and (
        accepted := idempotency.find(account_id=who, idempotency=named, now=now or Now())
    ):
        raise idempotency.AlreadyAccepted(accepted)
    try:
        holds.refuse_hold(
            account_id=who,
            quote_micros=submission.quote_micros,
            count=len(submission.parameters),
            is_async=submission.is_async,
            open_limit=open_limit,
            api_key_id=submission.api_key_id,
        )
    except holds.TooManyHolds as refusal:
        raise (TooManyQueued if submission.is_async else TooManyOpen)(refusal.limit) from refusal
    except key_spending.KeyTooManyHolds as refusal:
        raise TooManyOpen(refusal.limit, owner="API key") from refusal


def _wanted(**guard: object) -> Q:
    """Return the guard, for generations that nobody has asked to cancel. The others must not go back into the queue."""
    return Q(cancel_requested_at__isnull=True, **guard)


def _send_message(generation_id: int) -> None:
    failpoints.reach("submitted")
    enqueue.send(generation_id=generation_id)


def _end_unpaid(
    generation: Generation, source: Status, target: Status, *, guard: Q, **changes: object
) -> bool:
    with transaction.atomic():
        moved = move(generation.pk, source, target, guard=guard, **changes)
        if moved:
            # The account's lock comes last, because all of its requests wait for it.
            outbox.write(generation_id=generation.pk, event_type=events.ENDS[target])
            holds.release(reservation_id=generation.reservation_id)
            if generation.kind == Kind.EDIT:
                images.destroy_keys(image_ids=generation.sources.values_list("image_id", flat=True))
            error_type = str(changes["error_type"])
            transaction.on_commit(partial(metrics.count_end, generation, target, error_type))
            _notify(generation)
    return moved


def _notify(generation: Generation) -> None:
    """Wake the waiters after the commit."""
    transaction.on_commit(partial(_publish_ended, generation.pk))


def _publish_ended(generation_id: int) -> None:
    failpoints.reach("ended")
    completion_events.publish_ended(generation_id=generation_id)
