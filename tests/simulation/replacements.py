"""Replacements for guards and steps of the code under test, as if somebody had left these out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from storage import images
from workers.lifecycle import generations, recovery, transitions
from workers.lifecycle.submission import Submission, insert
from workers.models import OPEN_STATUSES, Generation, Status, Timestamp


def without_guard(target: Status) -> Callable[..., bool]:
    """Return a transition to this status that asks for the status before it and for nothing else."""

    def move(generation_id: int, source: Status, to: Status, *, guard: Q, **changes: Any) -> bool:
        return transitions.move(generation_id, source, to, guard=Q() if to == target else guard, **changes)

    return move


def without(text: str, part: str, instead: str = "") -> str:
    """Return the text of a statement without this part of it."""
    assert part in text
    return text.replace(part, instead)


def insert_without_key(*, submission: Submission, **given: Any) -> list[Generation]:
    """Accept a request as if it had no idempotency key."""
    return insert(submission=replace(submission, idempotency=None), **given)


def insert_without_limit(*, open_limit: int, **given: Any) -> list[Generation]:
    """Accept a request however many are open."""
    del open_limit
    return insert(open_limit=100, **given)


def without_status(guard: Q, _: Status) -> "QuerySet[Generation]":
    """Return what a transition may change if it does not ask for the status before it."""
    return Generation.objects.filter(guard)


def all_open(_: Q, limit: int, **__: object) -> list[int]:
    """Return what a sweep would take on if it asked nothing."""
    return list(Generation.objects.filter(status__in=OPEN_STATUSES).values_list("pk", flat=True)[:limit])


def nothing(*_: object, **__: object) -> None:
    """In the place of a step."""


def nobody(*_: object, **__: object) -> list[int]:
    """In the place of a step that returns ids."""
    return []


def none_lost(**_: object) -> set[UUID]:
    """In the place of a renewal."""
    return set()


def sweep_without_rescue(**_: object) -> recovery.Swept:
    """Return what a sweep did that only gives up."""
    return recovery.Swept(given_up=recovery._give_up(Now()), rescued=0, hinted=0)


def rescue_by_leases(*, limit: int, silence_seconds: float = 0, now: Timestamp = Now()) -> Sequence[int]:
    """Rescue what has no lease, however long its worker has been silent."""
    del silence_seconds
    return _rescue(limit=limit, now=now)


def without_mark_in(step: str) -> Callable[..., Q]:
    """Return the guard of this step as if nobody could ask to cancel what runs."""

    def wanted(**guard: object) -> Q:
        return Q(**guard) if step in guard else _wanted(**guard)

    return wanted


def lock_marked_too(condition: Q, limit: int, *, first: str) -> Sequence[int]:
    """Lock rows as if nobody could ask to cancel what runs."""
    return transitions.lock_some(_drop_mark(condition), limit, first=first)


def _drop_mark(condition: Q) -> Q:
    kept = [_drop_mark(each) if isinstance(each, Q) else each for each in condition.children]
    kept = [each for each in kept if each != ("cancel_requested_at__isnull", True)]
    return Q.create(children=kept, connector=condition.connector, negated=condition.negated)


def cancel_without_release(*, generation: Generation, guard: Q, now: Timestamp, **changes: Any) -> bool:
    """Cancel what runs and leave its money held."""
    marked = guard & Q(cancel_requested_at__isnull=False)
    return transitions.move(
        generation.pk, Status.RUNNING, Status.CANCELLED, guard=marked, ended_at=now, **changes
    )


def destroy_late(now: Any) -> None:
    """Destroy the keys of images that expired two minutes ago."""
    _destroy_expired_keys(now - timedelta(minutes=2))


def destroy_early(now: Any) -> None:
    """Destroy the keys of images that expire within two minutes."""
    _destroy_expired_keys(now + timedelta(minutes=2))


_rescue = recovery.rescue
_wanted = generations._wanted
_destroy_expired_keys = images._destroy_expired_keys


def deliver_always(*, account_id: int, generation_id: int) -> Generation | None:
    """Deliver a partial image in whatever status its generation is."""
    rows = Generation.objects.filter(pk=generation_id, account_id=account_id)
    rows.update(are_partials_delivered=True)
    return rows.first()


def deliver_unnoted(*, account_id: int, generation_id: int) -> Generation | None:
    """Deliver a partial image without a note."""
    return Generation.objects.filter(pk=generation_id, account_id=account_id, status=Status.RUNNING).first()
