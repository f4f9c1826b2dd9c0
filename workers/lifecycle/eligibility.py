"""Conditions for generations that a worker may claim or that are to be given up, and the order of the queue.

It writes nothing. Each condition is served by one index, so a long queue does not slow down its query.
"""

from collections.abc import Collection, Sequence

from django.db.models import Q, QuerySet, Value

from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Status, Timestamp


def claimable(now: Timestamp) -> Q:
    """Return the condition of a generation that has an attempt left and is due before its deadline."""
    return Q(attempt_count__lt=MAX_ATTEMPTS, not_before__lte=now, deadline_at__gt=now)


def queue_for(*, model: str | Value, now: Timestamp) -> QuerySet[Generation]:
    """Return the claimable generations of the model, ordered by their turn."""
    return Generation.objects.filter(claimable(now), status=Status.QUEUED, model=model).order_by(
        "turn_at", "pk"
    )


def models_by_turn(*, models: Collection[str], now: Timestamp) -> Sequence[str]:
    """Return the models that have claimable generations, ordered by turn.

    A single model is returned without a query.
    """
    if len(models) <= 1:
        return list(models)
    firsts = [queue_for(model=model, now=now).values_list("turn_at", "pk", "model")[:1] for model in models]
    return [model for *_, model in sorted(firsts[0].union(*firsts[1:], all=True))]


def overdue(now: Timestamp) -> Q:
    """Return the condition of a generation that is to be given up, for either of the two reasons below."""
    return past_deadline(now) | attempts_exhausted(now)


def past_deadline(now: Timestamp) -> Q:
    """Return the condition of an open generation whose deadline has passed."""
    return Q(status__in=OPEN_STATUSES, deadline_at__lt=now)


def attempts_exhausted(now: Timestamp) -> Q:
    """Return the condition of a generation whose worker died during the last attempt."""
    return Q(status=Status.RUNNING, lease_until__lt=now, attempt_count__gte=MAX_ATTEMPTS)
