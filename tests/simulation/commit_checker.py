"""Sees each change of the database as it is committed, knows who made it, and says what was wrong with it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import psycopg
from django.db import connection
from psycopg.rows import namedtuple_row

from tests.simulation import promised_times
from tests.simulation.actors import Actor
from tests.simulation.clients import Client
from tests.simulation.simulator import Simulator
from tests.simulation.store import label_of
from tests.simulation.wishes import Asked, Wish

MAX_ATTEMPTS: Final = 3
# A worker that has renewed nothing for 12 of a lease's 30 seconds may be taken for dead.
SILENT_LEASE: Final = timedelta(seconds=18)
OPEN: Final = ("queued", "running")

GENERATIONS: Final = """
SELECT g.id, g.account_id, g.prompt, g.status, g.attempt_count, g.lease_token, g.lease_until, g.not_before,
    g.deadline_at, g.ended_at, g.quote_micros, g.cost_micros, g.image_id, r.resolution, g.is_async, g.queue_until,
    g.cancel_requested_at, g.error_type, g.expires_at, g.are_partials_delivered, g.parameters ? 'seed' AS has_seed,
    ARRAY(SELECT d.event_type FROM workers_webhookdelivery d WHERE d.generation_id = g.id
        AND d.event_type <> 'image.deleted') AS events,
    EXISTS (SELECT FROM storage_storedimage i WHERE i.id = g.image_id AND i.wrapped_key IS NOT NULL) AS is_readable,
    EXISTS (SELECT FROM workers_sourceimage s JOIN storage_storedimage i ON i.id = s.image_id
        WHERE s.generation_id = g.id AND i.wrapped_key IS NOT NULL) AS has_readable_sources
FROM workers_generation g JOIN billing_reservation r ON r.id = g.reservation_id
WHERE g.account_id = ANY(%s) ORDER BY g.id
"""
ACCOUNTS: Final = """
SELECT id, balance_micros, reserved_micros, spent_micros, settlement_count,
    open_hold_count - open_async_count AS open_sync_count, open_async_count,
    (SELECT sum(amount_micros) FROM billing_ledgerentry WHERE account_id = a.id AND kind = 'credit') AS credits
FROM billing_account a WHERE id = ANY(%s)
"""
READABLE: Final = "SELECT 1 FROM storage_storedimage WHERE object_key = %s AND wrapped_key IS NOT NULL"


class Holder(NamedTuple):
    """The owner of a claim: a thread, in one life of its process."""

    actor: Actor
    starts: int


class Limits(NamedTuple):
    """The most open generations of an account, of those that a client waits for and of the others.

    `cancelled` is the most that it may cancel after their partial images.
    """

    synchronous: int
    asynchronous: int
    cancelled: int


class CommitChecker:
    """Reads through a connection of its own, which nothing that goes wrong concerns."""

    def __init__(
        self,
        simulator: Simulator,
        limits: Limits,
        asked: Asked,
        account_ids: list[int],
        session: psycopg.Connection[Any],
    ) -> None:
        self._simulator, self._limits, self._asked = simulator, limits, asked
        self._account_ids, self._session = account_ids, session
        self._holders: dict[UUID, Holder] = {}
        self._claimers: dict[int, Actor] = {}
        self._wishes: dict[int, Wish] = {}
        self.rows: dict[int, Any] = {}

    def look(self, actor: Actor) -> None:
        """Compare what this actor has just committed with what there was before."""
        has_moved = False
        for row in self._session.execute(GENERATIONS, [self._account_ids]).fetchall():
            before = self.rows.get(row.id)
            self.rows[row.id] = row
            if before != row:
                has_moved = has_moved or before is None or before.status != row.status
                self._tell(actor, before, row)
                self._violate(
                    self._begun(actor, row) if before is None else self._changed(actor, before, row)
                )
                self._violate(_told_by_the_row(row))
        if has_moved:
            self._violate(self._bought_twice())
            self._violate(self._money())

    def before_delete(self, object_key: str) -> None:
        """No object may go whose image can still be read: the key is destroyed first."""
        if self._session.execute(READABLE, [object_key]).fetchone():
            self._simulator.violate(f"{label_of(object_key)} is deleted, and its key is not destroyed")

    def find_late(
        self, *, calm_since: datetime, sent_at: Mapping[int, datetime], has_idle_worker: bool
    ) -> Iterator[str]:
        """Yield each promised time that has passed for an open generation."""
        holders = (self._kept(row.lease_token) for row in self.rows.values() if row.lease_token)
        yield from promised_times.find_late(
            self.rows.values(),
            now=self._simulator.now,
            calm_since=calm_since,
            sent_at=sent_at,
            holders=dict(each for each in holders if each),
            has_idle_worker=has_idle_worker,
        )

    @property
    def has_open(self) -> bool:
        """Return whether any generation is queued or running."""
        return any(row.status in OPEN for row in self.rows.values())

    def wish_of(self, generation_id: int) -> Wish:
        """Return the request that the generation was made from."""
        return self._wishes[generation_id]

    def _kept(self, lease_token: UUID) -> tuple[UUID, promised_times.Holder] | None:
        """Return the holder of a lease if a living process renews it."""
        actor = self._holders[lease_token].actor
        process, heartbeat = actor.process, getattr(actor.role, "heartbeat", None)
        if process.is_dead or heartbeat is None or lease_token not in heartbeat.lease_tokens:
            return None
        heart = process.members[-1]
        held_up_until = max(heart.stalled_until, actor.stalled_until)
        held_up_until = max(held_up_until, process.frozen_until or held_up_until)
        return lease_token, promised_times.Holder(heart, held_up_until)

    def _tell(self, actor: Actor, before: Any, row: Any) -> None:
        name = self._simulator.name_of(row.id)
        if before is None or before.status != row.status:
            was = before.status if before else "nothing"
            self._simulator.happened[row.status] += 1
            self._simulator.note(actor, f"{name}: {was} → {row.status}, attempt {row.attempt_count}")

    def _violate(self, problems: Iterator[str]) -> None:
        for problem in problems:
            self._simulator.violate(problem)

    def _begun(self, actor: Actor, row: Any) -> Iterator[str]:
        if not isinstance(actor.role, Client) or actor.role.wish is None:
            yield f"{actor} submitted a generation"
            return
        wish = self._wishes[row.id] = actor.role.wish
        if (row.account_id, row.prompt, row.status) != (wish.account_id, wish.prompt, "queued"):
            yield f"{actor} submitted what it did not wish for"
        if row.is_async != (wish.queue_seconds is not None):
            yield f"{actor} submitted for later what it waits for, or the other way round"

    def _changed(self, actor: Actor, before: Any, row: Any) -> Iterator[str]:
        now, step = self._simulator.now, (before.status, row.status)
        name = self._simulator.name_of(row.id)
        if row.cancel_requested_at != before.cancel_requested_at and not (
            step == ("running", "running") and row.id in self._asked.to_cancel
        ):
            yield f"{name} was marked by {actor}, and nobody has asked to cancel it, or it does not run"
        if row.are_partials_delivered != before.are_partials_delivered and not (
            step == ("running", "running") and before.cancel_requested_at is None
        ):
            yield f"a partial image of {name} was delivered to {actor}, and it does not run or is to be cancelled"
        if before.status not in OPEN:
            yield from self._deleted(actor, name, before, row)
        elif step == ("queued", "running"):
            self._holders[row.lease_token] = Holder(actor, actor.process.starts)
            self._simulator.thaw(self._claimers.get(row.id, actor).process)
            self._claimers[row.id] = actor
            yield from _claimed(actor, name, before, row, now)
        elif step == ("queued", "cancelled"):
            if not self._may_cancel(actor, before, row):
                yield f"{name} was cancelled by {actor} as {row.error_type}"
        elif step == ("queued", "failed"):
            if before.deadline_at >= now:
                yield f"{name} was given up by {actor} before its deadline"
        elif before.status == "running":
            yield from self._released(actor, name, before, row)
        elif step != ("queued", "queued"):
            yield f"{name}: {before.status} → {row.status} is no transition"

    def _may_cancel(self, actor: Actor, before: Any, row: Any) -> bool:
        """Return whether this actor may take it out of the queue for this reason."""
        if row.error_type == "queue_ttl_exceeded":
            return before.is_async and before.attempt_count == 0 and before.queue_until < self._simulator.now
        if row.error_type == "generation_cancelled":
            return isinstance(actor.role, Client) and row.id in self._asked.to_cancel
        return isinstance(actor.role, Client) and not before.is_async

    def _deleted(self, actor: Actor, name: str, before: Any, row: Any) -> Iterator[str]:
        """Check the one change that may follow the end: an owner has the image deleted, or all of it."""
        deleted = before._replace(
            prompt=row.prompt if row.prompt == "" else before.prompt,
            has_seed=before.has_seed and row.has_seed,
            is_readable=False,
            expires_at=min(before.expires_at, self._simulator.now) if before.expires_at else None,
        )
        if row.id not in self._asked.to_delete or row != deleted:
            yield f"{name} has ended and was changed by {actor}"
        if row.is_readable:
            yield f"{name} was deleted by {actor}, and its image can be read"

    def _released(self, actor: Actor, name: str, before: Any, row: Any) -> Iterator[str]:
        now = self._simulator.now
        if row.status not in OPEN:
            # Whoever was frozen until another has its work comes back now.
            self._simulator.thaw(self._claimers[row.id].process)
        is_holder = self._holders.get(before.lease_token) == Holder(actor, actor.process.starts)
        is_over, is_late = before.lease_until < now, before.deadline_at < now
        is_silent = before.lease_until < now + SILENT_LEASE
        is_spent = before.attempt_count >= MAX_ATTEMPTS
        is_marked = before.cancel_requested_at is not None
        if row.status == "running":
            if row.lease_token != before.lease_token:
                yield f"{name} was taken by {actor} while another held it"
        elif row.status in ("completed", "queued") and is_marked:
            yield f"{name} was to be cancelled and is {row.status} by {actor}"
        elif row.status == "completed" and not is_holder:
            yield f"{name} was completed by {actor}, who does not hold it"
        elif row.status == "queued" and not is_holder and not is_silent:
            yield f"{name} was put into the queue by {actor}, who does not hold it, under a live lease"
        elif row.status == "failed" and not (is_holder or is_late or (is_over and is_spent)):
            yield f"{name} was failed by {actor}, who does not hold it, before its time"
        elif row.status == "cancelled":
            if not is_marked:
                yield f"{name} was cancelled by {actor} while it ran, and nobody has asked for it"
            elif not is_holder and not is_over:
                yield f"{name} was cancelled by {actor}, who does not hold it, under a live lease"

    def _bought_twice(self) -> Iterator[str]:
        named = [
            (self._wishes[row.id].account_id, self._wishes[row.id].key)
            for row in self.rows.values()
            if row.id in self._wishes and row.status in (*OPEN, "completed") and self._wishes[row.id].key
        ]
        if len(named) != len(set(named)):
            yield "one idempotency key has bought twice"

    def _money(self) -> Iterator[str]:
        for account in self._session.execute(ACCOUNTS, [self._account_ids]).fetchall():
            rows = [row for row in self.rows.values() if row.account_id == account.id]
            costs = [row.cost_micros for row in rows if row.status == "completed"]
            due = (sum(costs), len(costs), sum(row.quote_micros for row in rows if row.status in OPEN))
            has = (account.spent_micros, account.settlement_count, account.reserved_micros)
            if has != due:
                yield f"an account has spent, times, reserved {has}, due are {due}"
            kinds = Counter(row.is_async for row in rows if row.status in OPEN)
            counts = (account.open_sync_count, account.open_async_count)
            if counts != (kinds[False], kinds[True]):
                yield f"an account counts {counts}, and its open generations are {kinds}"
            if any(count > limit for count, limit in zip(counts, self._limits[:2], strict=True)):
                yield f"an account has {counts} open generations of at most {self._limits}"
            if account.balance_micros + account.spent_micros != account.credits:
                yield "an account's balance and spending are not its credits"


def open_session() -> "psycopg.Connection[Any]":
    """Open a connection to the same database, apart from Django's."""
    parameters = connection.get_connection_params()
    keep = {
        name: parameters[name]
        for name in ("dbname", "host", "port", "user", "password")
        if name in parameters
    }
    return psycopg.connect(**keep, autocommit=True, row_factory=namedtuple_row)


def _claimed(actor: Actor, name: str, before: Any, row: Any, now: datetime) -> Iterator[str]:
    if row.attempt_count != before.attempt_count + 1 or row.attempt_count > MAX_ATTEMPTS:
        yield f"{name} has attempt {row.attempt_count} after {before.attempt_count}"
    if not before.not_before <= now < before.deadline_at:
        yield f"{name} was claimed by {actor} before it was due, or after its deadline"
    if before.is_async and before.attempt_count == 0 and before.queue_until <= now:
        yield f"{name} was claimed by {actor} after its time in the queue"


def _told_by_the_row(row: Any) -> Iterator[str]:
    """Check what must hold of each row, whoever wrote it."""
    resolution = {"completed": "settled", "failed": "released", "cancelled": "released"}.get(row.status, "")
    if row.resolution != resolution:
        yield f"a generation is {row.status}, and its hold is {row.resolution or 'open'}"
    # Its account has a webhook since before it, and the event is committed with the end.
    events = [] if row.status in OPEN else [f"generation.{row.status}"]
    if row.events != events:
        yield f"a generation is {row.status}, and the events of its webhook are {row.events}"
    if row.status not in OPEN and row.has_readable_sources:
        yield f"a generation is {row.status}, and its sources can be read"
    if row.cost_micros is not None and row.cost_micros != row.quote_micros:
        yield f"a generation cost {row.cost_micros} micros of {row.quote_micros}"
