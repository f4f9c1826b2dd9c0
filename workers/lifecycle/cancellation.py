"""Cancellation on request, at once while the generation is queued, and by its worker while it runs. It is free."""

from typing import Any, Final

from django.db.models import Q
from django.db.models.functions import Now

from workers.lifecycle import eligibility, error_codes, generations
from workers.models import Generation, Status, Timestamp

# The types of a cancelled generation, for programs.
GENERATION_CANCELLED: Final = "generation_cancelled"
QUEUE_TTL_EXCEEDED: Final = "queue_ttl_exceeded"


class AlreadyEnded(Exception):
    """The generation is completed or failed, so there is nothing to cancel."""


def request(*, generation: Generation, detail: str, now: Timestamp = Now()) -> Generation:
    """Cancel a queued generation, or ask the worker of a running one to drop it. Return the row as it is afterwards.

    A second request changes nothing. Raise AlreadyEnded if it is completed or failed.
    """
    while generation.is_open and generation.cancel_requested_at is None:
        _request_once(generation, detail, now)
        generation = Generation.objects.get(pk=generation.pk)
    if generation.status in (Status.COMPLETED, Status.FAILED):
        raise AlreadyEnded
    return generation


def end_requested(*, generation: Generation, now: Timestamp = Now()) -> bool:
    """Move running → cancelled for the holder of its lease, if the client asked for it. Return whether it moved."""
    mine = Q(lease_token=generation.lease_token)
    return generations.cancel_running(
        generation=generation,
        **_error(GENERATION_CANCELLED),
        guard=mine,
        now=now,
    )


def end_abandoned(*, limit: int, now: Timestamp = Now()) -> int:
    """Cancel at most `limit` generations that were to be cancelled and whose worker died, and return their number."""
    abandoned = Q(status=Status.RUNNING, lease_until__lt=now)
    rows = Generation.objects.filter(abandoned, cancel_requested_at__isnull=False).order_by("lease_until")
    return sum(
        generations.cancel_running(
            generation=row,
            **_error(GENERATION_CANCELLED),
            guard=abandoned,
            now=now,
        )
        for row in rows[:limit]
    )


def end_queued_too_long(*, limit: int, now: Timestamp = Now()) -> int:
    """Cancel at most `limit` asynchronous generations that no worker began in time, and return their number."""
    too_long = eligibility.queued_too_long(now)
    count = 0
    for row in Generation.objects.filter(too_long).order_by("queue_until")[:limit]:
        try:
            generations.cancel(
                generation=row,
                **_error(QUEUE_TTL_EXCEEDED),
                detail="no worker began it within its queue_ttl",
                guard=too_long,
                now=now,
            )
            count += 1
        except generations.NotQueued:
            # A worker has claimed it just now, or its client cancelled it.
            continue
    return count


def _request_once(generation: Generation, detail: str, now: Timestamp) -> None:
    try:
        generations.cancel(
            generation=generation,
            **_error(GENERATION_CANCELLED),
            detail=detail,
            now=now,
        )
    except generations.NotQueued:
        running = Generation.objects.filter(
            pk=generation.pk, status=Status.RUNNING, cancel_requested_at__isnull=True
        )
        running.update(cancel_requested_at=now, error_detail=detail)


def _error(error_type: str) -> dict[str, Any]:
    return {"error_type": error_type, "error_code": error_codes.new_code(error_type=error_type)}
