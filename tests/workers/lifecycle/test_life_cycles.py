"""Random lives of many generations, with dead workers, late sweeps and stale leases: the money always adds up."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.audit import audit as audit_money
from billing.ledger import InsufficientBalance
from tests import factories
from workers.audit.rows import find_disagreements as audit_work
from workers.lifecycle import cancellation, generations, recovery, submission
from workers.messaging import enqueue
from workers.models import OPEN_STATUSES, Generation

pytestmark = pytest.mark.django_db(transaction=True)
REFUSALS = (
    InsufficientBalance,
    generations.TooManyOpen,
    generations.NotClaimable,
    generations.NotQueued,
    generations.LeaseLost,
    generations.CancelRequested,
    cancellation.AlreadyEnded,
)
QUEUE_SECONDS = 20


class World:
    """A clock, an account with money for eight, and workers that may hold leases long lost."""

    def __init__(self) -> None:
        self.now = factories.NOW
        self.owner = factories.account(balance_micros=8 * factories.QUOTE_MICROS)
        self.queued: list[Generation] = []
        self.held: list[Generation] = []

    def submit(self, _: int) -> None:
        self.queued.append(factories.submit(self.owner, open_limit=5, now=self.now))

    def submit_async(self, _: int) -> None:
        self.queued.append(
            factories.submit(self.owner, open_limit=5, now=self.now, queue_seconds=QUEUE_SECONDS)
        )

    def request_cancel(self, index: int) -> None:
        row = Generation.objects.get(pk=_pick(self.queued, index).pk)
        cancellation.request(generation=row, detail="", now=self.now)

    def end_requested(self, index: int) -> None:
        cancellation.end_requested(generation=_pick(self.held, index), now=self.now)

    def claim(self, index: int) -> None:
        self.held.append(factories.claim(generation_id=_pick(self.queued, index).pk, now=self.now))

    def complete(self, index: int) -> None:
        factories.finish(_pick(self.held, index), now=self.now)

    def fail(self, index: int) -> None:
        generations.fail(generation=_pick(self.held, index), **factories.ERROR, now=self.now)

    def retry(self, index: int) -> None:
        generations.retry(generation=_pick(self.held, index), backoff_seconds=1, detail="", now=self.now)

    def cancel(self, index: int) -> None:
        generations.cancel(
            generation=_pick(self.queued, index), error_type="service_busy", error_code="X", now=self.now
        )

    def renew(self, index: int) -> None:
        generations.renew(lease_tokens={_pick(self.held, index).lease_token}, now=self.now)

    def sweep(self, _: int) -> None:
        recovery.sweep(now=self.now)

    def wait(self, index: int) -> None:
        self.now += timedelta(seconds=(1, 10, 31, 700)[index % 4])


def _pick(among: list[Generation], index: int) -> Generation:
    if not among:
        raise generations.NotClaimable
    return among[index % len(among)]


STEPS: list[Callable[[World, int], None]] = [
    World.submit,
    World.submit_async,
    World.request_cancel,
    World.end_requested,
    World.claim,
    World.claim,
    World.complete,
    World.complete,
    World.fail,
    World.retry,
    World.cancel,
    World.renew,
    World.sweep,
    World.wait,
]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 7)), min_size=5, max_size=60))
def test_the_invariants_hold_after_any_life(steps: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enqueue, "send", lambda *, generation_id: None)
    world = World()
    for step, index in steps:
        with suppress(*REFUSALS):
            step(world, index)
    assert [*audit_money(), *audit_work()] == []
    world.now += timedelta(seconds=submission.DEADLINE_SECONDS + QUEUE_SECONDS + 1)
    recovery.sweep(now=world.now)
    world.owner.refresh_from_db()
    assert not Generation.objects.filter(account=world.owner, status__in=OPEN_STATUSES).exists()
    assert world.owner.reserved_micros == 0
    assert [*audit_money(), *audit_work()] == []
