"""Invariants that hold once everything is quiet, checked from the tables, the store's names and the clients' log.

Each function yields a line for whatever violates its invariant. Other code than the audit's makes the sums.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from billing.money import format_usd
from tests.chaos.client_log import ClientLog
from tests.chaos.snapshot import Snapshot

OPEN = {"queued", "running"}
Problems = Iterator[str]
Invariant = Callable[[Snapshot, ClientLog], Problems]


def balances(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check balance + spent = credits - refunds, of each account and of all."""
    for account in snapshot.accounts.values():
        paid_in = _sum(snapshot, account.id, "credit") - _sum(snapshot, account.id, "refund")
        if account.balance_micros + account.spent_micros != paid_in:
            yield f"account {account.id}: {account.balance_micros} + {account.spent_micros} is not {paid_in} micros"
    opened = sum(owner.opening_micros for owner in {order.owner for order in client_log.orders})
    held = sum(account.balance_micros + account.spent_micros for account in snapshot.accounts.values())
    if held < opened:
        yield f"all accounts have or spent {held} micros, and were opened with {opened}"


def spending(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check spent = sum of settlements = sum of the costs of completed generations."""
    del client_log
    for account in snapshot.accounts.values():
        settled = _sum(snapshot, account.id, "settle")
        costs = sum(made.cost_micros for made in _completed(snapshot, account.id))
        if not account.spent_micros == settled == costs:
            yield f"account {account.id}: spent {account.spent_micros}, settled {settled}, costs {costs} micros"


def counts(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check total generations = settlements = completed generations."""
    del client_log
    for account in snapshot.accounts.values():
        settlements = sum(entry.kind == "settle" for entry in snapshot.entries[account.id])
        made = len(_completed(snapshot, account.id))
        if not account.settlement_count == settlements == made:
            yield f"account {account.id}: counts {account.settlement_count}, {settlements} settlements, {made} made"


def holds(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check reserved = sum of unresolved holds = sum of the quotes of open generations."""
    del client_log
    for account in snapshot.accounts.values():
        unresolved = sum(
            hold.quote_micros
            for hold in snapshot.reservations.values()
            if hold.account_id == account.id and not hold.resolution
        )
        quotes = sum(
            made.quote_micros
            for made in snapshot.generations.values()
            if made.account_id == account.id and made.status in OPEN
        )
        if not account.reserved_micros == unresolved == quotes:
            yield f"account {account.id}: reserved {account.reserved_micros}, held {unresolved}, open {quotes} micros"


def bounds(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """0 ≤ reserved ≤ balance."""
    del client_log
    for account in snapshot.accounts.values():
        if not 0 <= account.reserved_micros <= account.balance_micros:
            yield f"account {account.id}: reserved {account.reserved_micros} of {account.balance_micros} micros"


def chains(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check that an account's entries form a chain without a gap, and that the last of it is the account."""
    del client_log
    for account in snapshot.accounts.values():
        balance = reserved = 0
        for place, entry in enumerate(snapshot.entries[account.id], start=1):
            hold = snapshot.reservations.get(entry.reservation_id)
            held = hold.quote_micros if hold else 0
            balance += {"credit": 1, "refund": -1, "settle": -1}.get(entry.kind, 0) * entry.amount_micros
            reserved += {"hold": 1, "settle": -1, "release": -1}.get(entry.kind, 0) * held
            stored = (entry.sequence, entry.balance_after_micros, entry.reserved_after_micros)
            if stored != (place, balance, reserved):
                due = (place, balance, reserved)
                yield f"account {account.id}: entry {entry.sequence} stores {stored}, due is {due}"
        if (account.balance_micros, account.reserved_micros) != (balance, reserved):
            yield f"account {account.id}: is not what its last entry says"


def resolutions(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check completed ⇔ one settlement of its cost ≤ quote, failed or cancelled ⇔ one release, open ⇔ neither."""
    del client_log
    kinds = Counter(
        (entry.reservation_id, entry.kind, entry.amount_micros)
        for entries in snapshot.entries.values()
        for entry in entries
        if entry.kind in {"settle", "release"}
    )
    found: dict[int, list[tuple[str, int]]] = {}
    for (reservation_id, kind, amount), times in kinds.items():
        found.setdefault(reservation_id, []).extend([(kind, amount)] * times)
    for made in snapshot.generations.values():
        due = [("release", made.quote_micros)]
        if made.status == "completed":
            due = [("settle", made.cost_micros)]
        if made.status in OPEN:
            due = []
        if found.pop(made.reservation_id, []) != due or (made.cost_micros or 0) > made.quote_micros:
            yield f"generation {made.id} ({made.status}): its hold {made.reservation_id} is not resolved by {due}"
    for reservation_id in found:
        yield f"reservation {reservation_id} is resolved and of no generation"


def acknowledged(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Every id that a client was told has a row: of its own order, and completed at that cost if it said so."""
    for order in client_log.orders:
        for reply in order.replies:
            if reply.generation_id is None:
                continue
            row = snapshot.generations.get(reply.generation_id)
            if row is None:
                yield f"order {order.number}: generation {reply.generation_id} was told of and has no row"
            elif (client_log.prompt_of(row), row.account_id) != (order.prompt, order.owner.account_id):
                yield f"order {order.number}: generation {row.id} is of another order or account"
            elif reply.status == 200 and (row.status, format_usd(row.cost_micros or 0)) != (
                "completed",
                reply.cost,
            ):
                yield f"order {order.number}: came at {reply.cost}, but its row is {row.status} at {row.cost_micros}"


def bought_once(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """No order was bought twice, no image came in two versions, and no row is of an order that nobody placed."""
    prompts = {order.prompt: order for order in client_log.orders}
    bought = Counter(
        client_log.prompt_of(made) for made in snapshot.generations.values() if made.status == "completed"
    )
    for prompt, times in bought.items():
        if times > 1:
            yield f"{prompt!r} was bought {times} times"
    for made in snapshot.generations.values():
        order = prompts.get(client_log.prompt_of(made))
        if order is None or order.owner.account_id != made.account_id:
            yield f"generation {made.id} is of no order: {made.prompt!r}"
    for order in client_log.orders:
        came = {(reply.generation_id, reply.digest) for reply in order.replies if reply.status == 200}
        if len(came) > 1:
            yield f"order {order.number}: came as {len(came)} different images"


def regrets(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check that nothing is completed after it was cancelled for a client, and what is left of deleted ones."""
    for made in snapshot.generations.values():
        if made.id in client_log.cancelled and made.status == "completed":
            yield f"generation {made.id} was to be cancelled and is completed"
        if made.id in client_log.deleted and (made.prompt or "seed" in made.parameters):
            yield f"generation {made.id} is deleted and keeps its prompt or its seed"


def free_failures(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Nothing is open and nothing reserved once all is quiet."""
    del client_log
    for made in snapshot.generations.values():
        if made.status in OPEN:
            yield f"generation {made.id} is still {made.status} after {made.attempt_count} attempts"
    for account in snapshot.accounts.values():
        if account.reserved_micros:
            yield f"account {account.id}: {account.reserved_micros} micros are still reserved"


def objects(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """Check that the store has the object of every live image and no other, but for those removed behind its back."""
    live = {image.object_key: image for image in snapshot.images.values() if image.wrapped_key is not None}
    stored = set(snapshot.object_keys)
    spoilt = {
        snapshot.images[made.image_id].object_key
        for made in snapshot.generations.values()
        if made.id in client_log.spoilt and made.image_id
    }
    for key in sorted(stored - live.keys()):
        yield f"the object {key} belongs to no live image"
    for key in sorted(live.keys() - stored - spoilt):
        yield f"image {live[key].id} ({live[key].associated_data}) has lost its object {key}"


def keys(snapshot: Snapshot, client_log: ClientLog) -> Problems:
    """No expired image and no source of an ended generation has its key; every other image has."""
    del client_log
    delivered = {made.image_id for made in snapshot.generations.values() if made.image_id}
    for image in snapshot.images.values():
        must_live = image.id in delivered and not image.is_expired
        if (image.wrapped_key is not None) != must_live:
            state = "lost its key" if must_live else "still has its key"
            yield f"image {image.id} ({image.associated_data}) {state}"


INVARIANTS: dict[str, Invariant] = {
    "1 balance + spent = credits - refunds": balances,
    "2 spent = settlements = costs": spending,
    "3 generations = settlements = completed": counts,
    "4 reserved = open holds = open quotes": holds,
    "5 0 ≤ reserved ≤ balance": bounds,
    "6 entries form a chain": chains,
    "7 one resolution a generation": resolutions,
    "8 every acknowledged id has its row": acknowledged,
    "8 nothing bought twice, no foreign row": bought_once,
    "8 cancelled and deleted as told": regrets,
    "9 nothing open, nothing reserved": free_failures,
    "9 objects = live images": objects,
    "9 no key too many or too few": keys,
}


def _sum(snapshot: Snapshot, account_id: int, kind: str) -> int:
    return sum(entry.amount_micros for entry in snapshot.entries[account_id] if entry.kind == kind)


def _completed(snapshot: Snapshot, account_id: int) -> list[Any]:
    return [
        made
        for made in snapshot.generations.values()
        if made.account_id == account_id and made.status == "completed"
    ]
