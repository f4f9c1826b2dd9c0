"""Removed guards: without any one of them a few scenarios show the harm that it prevents."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from django.db.models import Q, QuerySet

from billing import ledger
from storage import images
from storage.models import StoredImage
from storage.statements import Statement, given
from tests.simulation.faults import Fault
from tests.simulation.scenario import Simulation, simulation
from workers.lifecycle import eligibility, generations, idempotency, recovery, transitions
from workers.models import MAX_ATTEMPTS, OPEN_STATUSES, Generation, Status

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


def _without_lease_token(guard: Q, source: Status, target: Status, **changes: Any) -> Statement[Generation]:
    """Return a transition that asks for no lease token."""
    if target == Status.COMPLETED:
        guard = Q(pk=given("generation_id"))
    return transitions.compile_move(guard, source, target, **changes)


def _without_status(guard: Q, _: Status) -> "QuerySet[Generation]":
    """Return what a transition may change if it does not ask for the status before it."""
    return Generation.objects.filter(guard)


def _all_open(_: Q, limit: int, **__: object) -> list[int]:
    """Return what a sweep would take on if it asked nothing."""
    return list(Generation.objects.filter(status__in=OPEN_STATUSES).values_list("pk", flat=True)[:limit])


def _nothing(*_: object, **__: object) -> None:
    """In the place of a step."""


class Removed(NamedTuple):
    """A replacement, what some scenario then says, and what goes wrong in scenarios that say it soon."""

    owner: Any
    name: str
    instead: object
    said: str
    beset_by: tuple[Fault, ...] = ()


REMOVED = {
    "the lease's token in complete": Removed(
        generations, "compile_move", _without_lease_token, "was completed by", (Fault.RELIEVED,)
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
        eligibility,
        "claimable",
        lambda _: Q(attempt_count__lt=MAX_ATTEMPTS),
        "before it was due, or after its deadline",
        (Fault.BROKEN, Fault.DOUBLED, Fault.JUMP),
    ),
    "the cap on attempts": Removed(
        (generations, recovery, eligibility),
        "MAX_ATTEMPTS",
        100,
        "generation_attempts_capped",
        (Fault.BROKEN,),
    ),
    "the status in every transition": Removed(
        transitions, "_rows", _without_status, "raised AlreadyResolved", (Fault.FROZEN, Fault.SLOW)
    ),
    "the lease's end in rescue": Removed(recovery, "lock_some", _all_open, "under a live lease"),
    "giving up": Removed(
        recovery, "_give_up", lambda _: 0, "does not quieten down", (Fault.KILLED, Fault.FROZEN)
    ),
    "the release of what ends unpaid": Removed(ledger, "release", _nothing, "its hold is open"),
    "the charge of what is completed": Removed(ledger, "settle", _nothing, "its hold is open"),
    "the look for an idempotency key": Removed(idempotency, "find", _nothing, "has bought twice"),
    "the destruction of the sources' keys": Removed(
        images, "destroy_keys", _nothing, "its sources can be read"
    ),
    "the key before the bytes": Removed(
        images,
        "_without_key",
        lambda: StoredImage.objects.filter(purged_at__isnull=True),
        "its key is not destroyed",
    ),
    "the tombstone of an orphan": Removed(
        images, "write_tombstone", lambda **_: True, "cannot be read", (Fault.STALLED,)
    ),
}


@pytest.mark.parametrize("guard", REMOVED)
def test_the_harm_is_seen_within_a_few_scenarios_without(
    simulated: Simulation, monkeypatch: pytest.MonkeyPatch, guard: Any
) -> None:
    removed = REMOVED[guard]
    for owner in removed.owner if isinstance(removed.owner, tuple) else (removed.owner,):
        monkeypatch.setattr(owner, removed.name, removed.instead)
    scenarios = (simulated.run(seed=seed, beset_by=removed.beset_by) for seed in range(MAX_SCENARIOS))
    assert any(removed.said in line for scenario in scenarios for line in scenario.violations)
