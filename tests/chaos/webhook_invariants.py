"""Invariants of webhooks, checked from what the receiver of all accounts got and from the tables.

Each function yields a line for whatever violates its invariant.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.chaos.receiver import TAKEN, Attempt
from tests.chaos.snapshot import Snapshot

# The service's own names are not used, so that a wrong one is seen.
END_TYPES = {
    "completed": "generation.completed",
    "failed": "generation.failed",
    "cancelled": "generation.cancelled",
}
Problems = Iterator[str]
Invariant = Callable[[Snapshot, Sequence[Attempt]], Problems]


def ends_told(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Problems:
    """Check that the account of each ended generation has taken the event of this end."""
    taken = {
        (each.account_id, each.generation_id, each.event_type) for each in attempts if each.answer == TAKEN
    }
    arrived = {each.generation_id for each in attempts}
    for made in snapshot.generations.values():
        due = END_TYPES.get(made.status)
        if due and (made.account_id, made.id, due) not in taken:
            what = "was never taken" if made.id in arrived else "never arrived"
            yield f"generation {made.id} of account {made.account_id}: {due} {what}"


def nothing_else_told(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Problems:
    """Check that each event is the end of a generation of the account at whose address it came."""
    for account_id, generation_id, event_type in sorted(
        {(each.account_id, each.generation_id, each.event_type) for each in attempts}
    ):
        made = snapshot.generations.get(generation_id)
        if made is None:
            yield f"account {account_id}: {event_type} came of generation {generation_id}, which has no row"
        elif made.account_id != account_id:
            yield f"account {account_id}: {event_type} came of generation {made.id} of account {made.account_id}"
        elif END_TYPES.get(made.status) != event_type:
            yield f"account {account_id}: {event_type} came of generation {made.id}, which is {made.status}"


def one_id_an_event(snapshot: Snapshot, attempts: Sequence[Attempt]) -> Problems:
    """Check that an event has the same id at each attempt, and that no other event has this id."""
    del snapshot
    ids: dict[tuple[int, str], set[str]] = defaultdict(set)
    events: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for each in attempts:
        event = (each.generation_id, each.event_type)
        ids[event].add(each.webhook_id)
        events[each.webhook_id].add(event)
    for (generation_id, event_type), found in ids.items():
        if len(found) > 1:
            yield f"generation {generation_id}: {event_type} came under {len(found)} ids: {sorted(found)}"
    for webhook_id, named in events.items():
        if len(named) > 1:
            yield f"{webhook_id} is the id of {len(named)} events: {sorted(named)}"


INVARIANTS: dict[str, Invariant] = {
    "11 every end told to its account": ends_told,
    "11 no other end, to no other account": nothing_else_told,
    "11 one id an event, one event an id": one_id_an_event,
}
