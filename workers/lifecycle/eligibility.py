"""Which generations wait, for a worker or to be given up, as conditions and in whose turn. Writes nothing.

Each condition is a piece of one index, whatever else is open: a long queue costs no one who looks for something in it.
"""

from collections.abc import Collection, Sequence

from django.db.models import Q, QuerySet, Value

from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Status, Timestamp


def claimable(now: Timestamp) -> Q:
    """What may be attempted."""
    return Q(attempt_count__lt=MAX_ATTEMPTS, not_before__lte=now, deadline_at__gt=now)


def queue_for(*, model: str | Value, now: Timestamp) -> QuerySet[Generation]:
    """What waits for a worker of the model and is due, in its turn."""
    return Generation.objects.filter(claimable(now), status=Status.QUEUED, model=model).order_by(
        "turn_at", "pk"
    )


def models_by_turn(*, models: Collection[str], now: Timestamp) -> Sequence[str]:
    """Those of the models for which something waits, the one first whose turn it is; a single one without looking."""
    if len(models) <= 1:
        return list(models)
    firsts = [queue_for(model=model, now=now).values_list("turn_at", "pk", "model")[:1] for model in models]
    return [model for *_, model in sorted(firsts[0].union(*firsts[1:], all=True))]


def overdue(now: Timestamp) -> Q:
    """What is to be given up: whatever is open past its deadline, and what a dead worker left at its last attempt."""
    return past_deadline(now) | attempts_exhausted(now)


def past_deadline(now: Timestamp) -> Q:
    """What is open although its deadline is over."""
    return Q(status__in=OPEN_STATUSES, deadline_at__lt=now)


def attempts_exhausted(now: Timestamp) -> Q:
    """What a dead worker left at its last attempt."""
    return Q(status=Status.RUNNING, lease_until__lt=now, attempt_count__gte=MAX_ATTEMPTS)
