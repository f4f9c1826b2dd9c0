"""The guards that a test removes, each with the harm or the delay that it prevents."""

from typing import Any, NamedTuple

from billing import holds
from storage import images, orphans
from storage.models import StoredImage
from storage.postgresql.plain_sql import NOW
from tests.simulation import replacements
from tests.simulation.faults import Fault
from workers.lifecycle import (
    attempt_statements,
    cancellation,
    eligibility,
    erasure,
    generations,
    lost_clients,
    partials,
    recovery,
    transitions,
    watching,
)
from workers.messaging import enqueue
from workers.models import MAX_ATTEMPTS, Status
from workers.webhooks import outbox


class Removed(NamedTuple):
    """A replacement, what some scenario then says (a pattern), and what goes wrong in scenarios that say it soon."""

    owner: Any
    name: str
    instead: object
    said: str
    beset_by: tuple[Fault, ...] = ()
    # The text of the claim, where it has the guard too.
    claim: str = attempt_statements.CLAIM
    # A scenario that says it. The test tries this one first, and others once a change has given it another course.
    seed: int = 0


REMOVED = {
    "the event of an end without an image": Removed(
        outbox, "write", replacements.nothing, "the events of its webhook are"
    ),
    "the lease's token in complete": Removed(
        attempt_statements,
        "COMPLETE",
        replacements.without(attempt_statements.COMPLETE, " AND lease_token = %(lease_token)s"),
        "was completed by",
        (Fault.RELIEVED,),
    ),
    "the lease's token in fail": Removed(
        generations,
        "move",
        replacements.without_guard(Status.FAILED),
        "was failed by",
        (Fault.RELIEVED, Fault.BROKEN),
    ),
    "the lease's token in retry": Removed(
        generations,
        "move",
        replacements.without_guard(Status.QUEUED),
        "was put into the queue by",
        (Fault.RELIEVED, Fault.BROKEN),
    ),
    "the due time and the deadline in claim": Removed(
        attempt_statements,
        "CLAIM",
        replacements.without(attempt_statements.CLAIM, f" AND not_before <= {NOW} AND deadline_at > {NOW}"),
        "before it was due, or after its deadline",
        (Fault.BROKEN, Fault.DOUBLED, Fault.JUMP),
        seed=1,
    ),
    "the cap on attempts": Removed(
        (generations, recovery, eligibility),
        "MAX_ATTEMPTS",
        100,
        "generation_attempts_capped",
        (Fault.BROKEN,),
        claim=replacements.without(attempt_statements.CLAIM, f"attempt_count < {MAX_ATTEMPTS}", "true"),
    ),
    "the status in every transition": Removed(
        transitions,
        "_rows",
        replacements.without_status,
        "while it ran|raised AlreadyResolved|generation_leased_while_running",
        (Fault.STALLED, Fault.SLOW, Fault.LATE, Fault.LOST),
        seed=2,
    ),
    "the lease's end in rescue": Removed(recovery, "lock_some", replacements.all_open, "under a live lease"),
    "giving up": Removed(recovery, "_give_up", lambda _: 0, "is not given up", (Fault.KILLED, Fault.FROZEN)),
    "rescue": Removed(
        recovery, "rescue", replacements.nobody, "has no worker and is not rescued", (Fault.KILLED,)
    ),
    "the sweep": Removed(
        recovery,
        "sweep",
        replacements.sweep_without_rescue,
        "has no worker and is not rescued",
        (Fault.KILLED,),
        seed=9,
    ),
    "rescue by idle workers": Removed(
        recovery,
        "rescue",
        replacements.rescue_by_leases,
        "is not rescued by an idle one",
        (Fault.KILLED, Fault.SLOW),
    ),
    "the choice of what is hinted at again": Removed(
        recovery, "take_due_hints", replacements.nobody, "no message is sent for it", (Fault.LOST,), seed=2
    ),
    "the message of a hint": Removed(enqueue, "send", replacements.nothing, "no message is sent for it"),
    "the renewal of leases": Removed(
        generations, "renew", replacements.none_lost, "does not renew a lease", seed=3
    ),
    "the release of what ends unpaid": Removed(holds, "release", replacements.nothing, "its hold is open"),
    "the charge of what is completed": Removed(
        attempt_statements,
        "COMPLETE",
        replacements.without(
            attempt_statements.COMPLETE,
            holds.settle(after="leased"),
            "entry AS (SELECT reservation_id FROM leased)",
        ),
        "its hold is open",
    ),
    "the idempotency key": Removed(
        generations, "insert", replacements.insert_without_key, "has bought twice"
    ),
    "the destruction of the sources' keys": Removed(
        images, "destroy_keys", replacements.nothing, "its sources can be read", seed=1
    ),
    "the key before the bytes": Removed(
        images,
        "_without_key",
        lambda: StoredImage.objects.filter(purged_at__isnull=True),
        "its key is not destroyed",
    ),
    "the purge": Removed(images, "purge", lambda **_: 0, "is there a minute after it expired", seed=2),
    "a purge in time": Removed(
        images,
        "_destroy_expired_keys",
        replacements.destroy_late,
        "is there a minute after it expired",
        seed=4,
    ),
    "a purge that waits for the expiry": Removed(
        images, "_destroy_expired_keys", replacements.destroy_early, "before it has expired", seed=4
    ),
    "the deletion of bytes": Removed(images, "_delete_object", lambda _: False, "is not deleted", seed=2),
    "the removal of orphans": Removed(
        orphans, "remove", lambda **_: 0, "left in the store", (Fault.KILLED, Fault.UNANSWERED), seed=6
    ),
    "the mark in complete": Removed(
        attempt_statements,
        "COMPLETE",
        replacements.without(attempt_statements.COMPLETE, "AND cancel_requested_at IS NULL"),
        "was to be cancelled and is completed",
        (Fault.STALLED,),
        seed=1,
    ),
    "the mark in retry": Removed(
        generations,
        "_wanted",
        replacements.without_mark_in("attempt_count__lt"),
        "was to be cancelled and is queued",
        (Fault.BROKEN,),
        seed=6,
    ),
    "the mark in what a stopping worker puts back": Removed(
        generations,
        "_wanted",
        replacements.without_mark_in("lease_token__in"),
        "was to be cancelled and is queued",
        (Fault.STOPPED, Fault.STALLED, Fault.SLOW),
        seed=8,
    ),
    "the mark in rescue": Removed(
        recovery,
        "lock_some",
        replacements.lock_marked_too,
        "was to be cancelled and is queued",
        (Fault.KILLED, Fault.FROZEN),
        seed=6,
    ),
    "the mark in the renewal of leases": Removed(
        attempt_statements,
        "RENEW",
        replacements.without(attempt_statements.RENEW, "cancel_requested_at IS NULL", "true"),
        "its attempt is to be cancelled and is not ended",
        seed=12,
    ),
    "the end of what a dead worker was to cancel": Removed(
        cancellation,
        "end_abandoned",
        lambda **_: 0,
        "has no worker, and is not ended",
        (Fault.KILLED,),
        seed=4,
    ),
    "the end of what was queued for too long": Removed(
        cancellation,
        "end_queued_too_long",
        lambda **_: 0,
        "past its time in the queue and is not cancelled",
        seed=8,
    ),
    "the time in the queue in claim": Removed(
        attempt_statements,
        "CLAIM",
        replacements.without(attempt_statements.CLAIM, "queue_until IS NULL", "true"),
        "after its time in the queue",
        (Fault.LOST, Fault.JUMP),
    ),
    "the release of what is cancelled while it runs": Removed(
        generations,
        "cancel_running",
        replacements.cancel_without_release,
        "a generation is cancelled, and its hold is open",
        seed=3,
    ),
    "the limit of what is open": Removed(
        generations, "insert", replacements.insert_without_limit, "open generations of at most", seed=15
    ),
    "the destruction of the key at deletion": Removed(
        images, "expire", replacements.nothing, "was deleted by .*, and its image can be read"
    ),
    "the erasure at deletion": Removed(
        erasure, "erase", lambda **_: 0, "is deleted, and its prompt or its seed is kept"
    ),
    "the tombstone of an orphan": Removed(
        images, "write_tombstone", lambda **_: True, "cannot be read", (Fault.STALLED,), seed=29
    ),
    "the note of a lost client": Removed(
        lost_clients, "note", replacements.nothing, "a retry bought", (Fault.SLOW,), seed=11
    ),
    "the only retry for a lost client": Removed(
        lost_clients,
        "ATTACH",
        replacements.without(
            lost_clients.ATTACH, "client_lost_at = NULL, lost_digest = ''", "client_lost_at = client_lost_at"
        ),
        "was given to more retries than it lost clients",
        (Fault.SLOW,),
        seed=11,
    ),
    "the status in the delivery of a partial image": Removed(
        partials,
        "mark_delivered",
        replacements.deliver_always,
        "does not run or is to be cancelled",
        (Fault.BROKEN,),
        seed=19,
    ),
    "the note of a delivered partial image": Removed(
        partials, "mark_delivered", replacements.deliver_unnoted, "and the row does not say so"
    ),
    "the version of a watched generation": Removed(watching, "version_of", lambda _: 0, "a watcher saw"),
}
