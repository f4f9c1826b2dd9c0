"""Removed guards: without any one of them a few scenarios show the harm, or the delay, that it prevents."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from billing import holds
from storage import images, orphans
from storage.models import StoredImage
from storage.postgresql.plain_sql import NOW
from tests.simulation.faults import Fault
from tests.simulation.scenario import Simulation, simulation
from workers.lifecycle import (
    attempt_statements,
    cancellation,
    eligibility,
    erasure,
    generations,
    recovery,
    transitions,
)
from workers.lifecycle.submission import Submission, insert
from workers.messaging import enqueue
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Status, Timestamp

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

# Several times what any of them takes as the code is now.
MAX_SCENARIOS = 100


@pytest.fixture
def simulated() -> Iterator[Simulation]:
    """Open the simulation that scenarios run in."""
    with simulation() as opened:
        yield opened


def _without_guard(target: Status) -> Callable[..., bool]:
    """Return a transition to this status that asks for the status before it and for nothing else."""

    def move(generation_id: int, source: Status, to: Status, *, guard: Q, **changes: Any) -> bool:
        return transitions.move(generation_id, source, to, guard=Q() if to == target else guard, **changes)

    return move


def _without(text: str, part: str, instead: str = "") -> str:
    """Return the text of a statement without this part of it."""
    assert part in text
    return text.replace(part, instead)


def _insert_without_key(*, submission: Submission, **given: Any) -> list[Generation]:
    """Accept a request as if it had no idempotency key."""
    return insert(submission=replace(submission, idempotency=None), **given)


def _insert_without_limit(*, open_limit: int, **given: Any) -> list[Generation]:
    """Accept a request however many are open."""
    del open_limit
    return insert(open_limit=100, **given)


def _without_status(guard: Q, _: Status) -> "QuerySet[Generation]":
    """Return what a transition may change if it does not ask for the status before it."""
    return Generation.objects.filter(guard)


def _all_open(_: Q, limit: int, **__: object) -> list[int]:
    """Return what a sweep would take on if it asked nothing."""
    return list(Generation.objects.filter(status__in=OPEN_STATUSES).values_list("pk", flat=True)[:limit])


def _nothing(*_: object, **__: object) -> None:
    """In the place of a step."""


def _nobody(*_: object, **__: object) -> list[int]:
    """In the place of a step that returns ids."""
    return []


def _none_lost(**_: object) -> set[UUID]:
    """In the place of a renewal."""
    return set()


def _sweep_without_rescue(**_: object) -> recovery.Swept:
    """Return what a sweep did that only gives up."""
    return recovery.Swept(given_up=recovery._give_up(Now()), rescued=0, hinted=0)


def _rescue_by_leases(*, limit: int, silence_seconds: float = 0, now: Timestamp = Now()) -> Sequence[int]:
    """Rescue what has no lease, however long its worker has been silent."""
    del silence_seconds
    return _rescue(limit=limit, now=now)


def _without_mark_in(step: str) -> Callable[..., Q]:
    """Return the guard of this step as if nobody could ask to cancel what runs."""

    def wanted(**guard: object) -> Q:
        return Q(**guard) if step in guard else _wanted(**guard)

    return wanted


def _lock_marked_too(condition: Q, limit: int, *, first: str) -> Sequence[int]:
    """Lock rows as if nobody could ask to cancel what runs."""
    return transitions.lock_some(_drop_mark(condition), limit, first=first)


def _drop_mark(condition: Q) -> Q:
    kept = [_drop_mark(each) if isinstance(each, Q) else each for each in condition.children]
    kept = [each for each in kept if each != ("cancel_requested_at__isnull", True)]
    return Q.create(children=kept, connector=condition.connector, negated=condition.negated)


def _cancel_without_release(*, generation: Generation, guard: Q, now: Timestamp, **changes: Any) -> bool:
    """Cancel what runs and leave its money held."""
    marked = guard & Q(cancel_requested_at__isnull=False)
    return transitions.move(
        generation.pk, Status.RUNNING, Status.CANCELLED, guard=marked, ended_at=now, **changes
    )


def _destroy_late(now: Any) -> None:
    """Destroy the keys of images that expired two minutes ago."""
    _destroy_expired_keys(now - timedelta(minutes=2))


def _destroy_early(now: Any) -> None:
    """Destroy the keys of images that expire within two minutes."""
    _destroy_expired_keys(now + timedelta(minutes=2))


_rescue = recovery.rescue
_wanted = generations._wanted
_destroy_expired_keys = images._destroy_expired_keys


class Removed(NamedTuple):
    """A replacement, what some scenario then says (a pattern), and what goes wrong in scenarios that say it soon."""

    owner: Any
    name: str
    instead: object
    said: str
    beset_by: tuple[Fault, ...] = ()
    # The text of the claim, where it has the guard too.
    claim: str = attempt_statements.CLAIM


REMOVED = {
    "the lease's token in complete": Removed(
        attempt_statements,
        "COMPLETE",
        _without(attempt_statements.COMPLETE, " AND lease_token = %(lease_token)s"),
        "was completed by",
        (Fault.RELIEVED,),
    ),
    "the lease's token in fail": Removed(
        generations, "move", _without_guard(Status.FAILED), "was failed by", (Fault.RELIEVED, Fault.BROKEN)
    ),
    "the lease's token in retry": Removed(
        generations,
        "move",
        _without_guard(Status.QUEUED),
        "was put into the queue by",
        (Fault.RELIEVED, Fault.BROKEN),
    ),
    "the due time and the deadline in claim": Removed(
        attempt_statements,
        "CLAIM",
        _without(attempt_statements.CLAIM, f" AND not_before <= {NOW} AND deadline_at > {NOW}"),
        "before it was due, or after its deadline",
        (Fault.BROKEN, Fault.DOUBLED, Fault.JUMP),
    ),
    "the cap on attempts": Removed(
        (generations, recovery, eligibility),
        "MAX_ATTEMPTS",
        100,
        "generation_attempts_capped",
        (Fault.BROKEN,),
        claim=_without(attempt_statements.CLAIM, f"attempt_count < {MAX_ATTEMPTS}", "true"),
    ),
    "the status in every transition": Removed(
        transitions,
        "_rows",
        _without_status,
        "while it ran|raised AlreadyResolved|generation_leased_while_running",
        (Fault.STALLED, Fault.SLOW, Fault.LATE, Fault.LOST),
    ),
    "the lease's end in rescue": Removed(recovery, "lock_some", _all_open, "under a live lease"),
    "giving up": Removed(recovery, "_give_up", lambda _: 0, "is not given up", (Fault.KILLED, Fault.FROZEN)),
    "rescue": Removed(recovery, "rescue", _nobody, "has no worker and is not rescued", (Fault.KILLED,)),
    "the sweep": Removed(
        recovery, "sweep", _sweep_without_rescue, "has no worker and is not rescued", (Fault.KILLED,)
    ),
    "rescue by idle workers": Removed(
        recovery, "rescue", _rescue_by_leases, "is not rescued by an idle one", (Fault.KILLED, Fault.SLOW)
    ),
    "the choice of what is hinted at again": Removed(
        recovery, "take_due_hints", _nobody, "no message is sent for it", (Fault.LOST,)
    ),
    "the message of a hint": Removed(enqueue, "send", _nothing, "no message is sent for it"),
    "the renewal of leases": Removed(generations, "renew", _none_lost, "does not renew a lease"),
    "the release of what ends unpaid": Removed(holds, "release", _nothing, "its hold is open"),
    "the charge of what is completed": Removed(
        attempt_statements,
        "COMPLETE",
        _without(
            attempt_statements.COMPLETE,
            holds.settle(after="leased"),
            "entry AS (SELECT reservation_id FROM leased)",
        ),
        "its hold is open",
    ),
    "the idempotency key": Removed(generations, "insert", _insert_without_key, "has bought twice"),
    "the destruction of the sources' keys": Removed(
        images, "destroy_keys", _nothing, "its sources can be read"
    ),
    "the key before the bytes": Removed(
        images,
        "_without_key",
        lambda: StoredImage.objects.filter(purged_at__isnull=True),
        "its key is not destroyed",
    ),
    "the purge": Removed(images, "purge", lambda **_: 0, "is there a minute after it expired"),
    "a purge in time": Removed(
        images, "_destroy_expired_keys", _destroy_late, "is there a minute after it expired"
    ),
    "a purge that waits for the expiry": Removed(
        images, "_destroy_expired_keys", _destroy_early, "before it has expired"
    ),
    "the deletion of bytes": Removed(images, "_delete_object", lambda _: False, "is not deleted"),
    "the removal of orphans": Removed(
        orphans, "remove", lambda **_: 0, "left in the store", (Fault.KILLED, Fault.UNANSWERED)
    ),
    "the mark in complete": Removed(
        attempt_statements,
        "COMPLETE",
        _without(attempt_statements.COMPLETE, "AND cancel_requested_at IS NULL"),
        "was to be cancelled and is completed",
        (Fault.STALLED,),
    ),
    "the mark in retry": Removed(
        generations,
        "_wanted",
        _without_mark_in("attempt_count__lt"),
        "was to be cancelled and is queued",
        (Fault.BROKEN,),
    ),
    "the mark in what a stopping worker puts back": Removed(
        generations,
        "_wanted",
        _without_mark_in("lease_token__in"),
        "was to be cancelled and is queued",
        (Fault.STOPPED,),
    ),
    "the mark in rescue": Removed(
        recovery,
        "lock_some",
        _lock_marked_too,
        "was to be cancelled and is queued",
        (Fault.KILLED, Fault.FROZEN),
    ),
    "the mark in the renewal of leases": Removed(
        attempt_statements,
        "RENEW",
        _without(attempt_statements.RENEW, "cancel_requested_at IS NULL", "true"),
        "its attempt is to be cancelled and is not ended",
    ),
    "the end of what a dead worker was to cancel": Removed(
        cancellation, "end_abandoned", lambda **_: 0, "has no worker, and is not ended", (Fault.KILLED,)
    ),
    "the end of what was queued for too long": Removed(
        cancellation, "end_queued_too_long", lambda **_: 0, "past its time in the queue and is not cancelled"
    ),
    "the time in the queue in claim": Removed(
        attempt_statements,
        "CLAIM",
        _without(attempt_statements.CLAIM, "queue_until IS NULL", "true"),
        "after its time in the queue",
        (Fault.LOST, Fault.JUMP),
    ),
    "the release of what is cancelled while it runs": Removed(
        generations,
        "cancel_running",
        _cancel_without_release,
        "a generation is cancelled, and its hold is open",
    ),
    "the limit of what is open": Removed(
        generations, "insert", _insert_without_limit, "open generations of at most"
    ),
    "the destruction of the key at deletion": Removed(
        images, "expire", _nothing, "was deleted by .*, and its image can be read"
    ),
    "the erasure at deletion": Removed(
        erasure, "erase", lambda **_: 0, "is deleted, and its prompt or its seed is kept"
    ),
    "the tombstone of an orphan": Removed(
        images, "write_tombstone", lambda **_: True, "cannot be read", (Fault.STALLED, Fault.FROZEN)
    ),
}


@pytest.mark.parametrize("guard", REMOVED)
def test_the_harm_is_seen_within_a_few_scenarios_without(simulated: Simulation, guard: Any) -> None:
    removed = REMOVED[guard]
    # The simulation replaces some of the same functions, so its own are put back before it ends.
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(attempt_statements, "CLAIM", removed.claim)
        for owner in removed.owner if isinstance(removed.owner, tuple) else (removed.owner,):
            patches.setattr(owner, removed.name, removed.instead)
        scenarios = (simulated.run(seed=seed, beset_by=removed.beset_by) for seed in range(MAX_SCENARIOS))
        assert any(re.search(removed.said, line) for scenario in scenarios for line in scenario.violations)
