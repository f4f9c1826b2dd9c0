"""Each invariant is silent about what the service does, and speaks up when a row, an object or a word is another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection
from django.utils import timezone

from storage import images
from tests import factories
from tests.chaos.client_log import ClientLog, Owner, Reply
from tests.chaos.database_invariants import INVARIANTS
from tests.chaos.snapshot import Snapshot, gather
from workers.lifecycle import generations
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db

State = tuple[Snapshot, ClientLog]
OPENING_MICROS = 10_000_000


@pytest.fixture
def state() -> State:
    """One order that was completed, one that failed, one that was cancelled, as a run leaves them."""
    account = factories.account(balance_micros=OPENING_MICROS)
    client_log = ClientLog()
    owner = Owner(account.pk, "a key", OPENING_MICROS)
    now = timezone.now()
    for status in (Status.COMPLETED, Status.FAILED, Status.CANCELLED):
        order = client_log.open(
            owner=owner, prompt="a boat", size="512x512", sources=(), has_key=True, leaves=False
        )
        queued = factories.submit(account, prompt=order.prompt, now=now)
        if status == Status.CANCELLED:
            generations.cancel(generation=queued, error_type="service_busy", error_code="X", now=now)
        else:
            running = factories.claim(generation_id=queued.pk, now=now)
            if status == Status.FAILED:
                generations.fail(generation=running, **factories.ERROR, now=now)
            else:
                image = images.put(
                    content=b"png",
                    mime_type="image/png",
                    associated_data="x",
                    expires_at=now + timedelta(hours=24),
                )
                generations.complete(
                    generation=running, image=image, cost_micros=running.quote_micros, now=now
                )
        client_log.note(order, _told(Generation.objects.get(pk=queued.pk)))
    keys = {_name(each) for each in Generation.objects.exclude(image=None)}
    with connection.cursor() as cursor:
        return gather(cursor.db.connection, object_keys=keys), client_log


def test_no_equation_says_anything_of_a_service_that_works(state: State) -> None:
    assert {
        name: list(invariant(*state)) for name, invariant in INVARIANTS.items() if list(invariant(*state))
    } == {}


def _account(**changes: int) -> Callable[[Snapshot, ClientLog], None]:
    def change(snapshot: Snapshot, client_log: ClientLog) -> None:
        ((key, account),) = snapshot.accounts.items()
        snapshot.accounts[key] = account._replace(**changes)

    return change


def _made(place: int, **changes: Any) -> Callable[[Snapshot, ClientLog], None]:
    def change(snapshot: Snapshot, client_log: ClientLog) -> None:
        key = sorted(snapshot.generations)[place]
        snapshot.generations[key] = snapshot.generations[key]._replace(**changes)

    return change


def _entry(place: int, **changes: Any) -> Callable[[Snapshot, ClientLog], None]:
    def change(snapshot: Snapshot, client_log: ClientLog) -> None:
        ((_, entries),) = snapshot.entries.items()
        entries[place] = entries[place]._replace(**changes)

    return change


def _image(**changes: Any) -> Callable[[Snapshot, ClientLog], None]:
    def change(snapshot: Snapshot, client_log: ClientLog) -> None:
        ((key, image),) = snapshot.images.items()
        snapshot.images[key] = image._replace(**changes)

    return change


def _reply(**changes: Any) -> Callable[[Snapshot, ClientLog], None]:
    def change(snapshot: Snapshot, client_log: ClientLog) -> None:
        client_log.orders[0].replies.append(client_log.orders[0].replies[0]._replace(**changes))

    return change


def _second_settlement(snapshot: Snapshot, client_log: ClientLog) -> None:
    ((_, entries),) = snapshot.entries.items()
    entries.append(next(entry for entry in entries if entry.kind == "settle"))


def _second_purchase(snapshot: Snapshot, client_log: ClientLog) -> None:
    first = snapshot.generations[min(snapshot.generations)]
    snapshot.generations[0] = first._replace(id=0)


def _lost_row(snapshot: Snapshot, client_log: ClientLog) -> None:
    del snapshot.generations[min(snapshot.generations)]


def _lost_object(snapshot: Snapshot, client_log: ClientLog) -> None:
    snapshot.object_keys = set()


def _orphan(snapshot: Snapshot, client_log: ClientLog) -> None:
    snapshot.object_keys = {*snapshot.object_keys, "2026/01/01/00/abc"}


def _foreign_order(snapshot: Snapshot, client_log: ClientLog) -> None:
    client_log.orders[0] = replace(client_log.orders[0], prompt="order 1: another")


def _completed_after_all(snapshot: Snapshot, client_log: ClientLog) -> None:
    client_log.note_cancelled(min(snapshot.generations))


def _kept_after_deletion(snapshot: Snapshot, client_log: ClientLog) -> None:
    client_log.note_deleted(min(snapshot.generations))


def _bought_again(snapshot: Snapshot, client_log: ClientLog) -> None:
    key = min(snapshot.generations)
    made = snapshot.generations[key]
    snapshot.generations[0] = made._replace(id=0)
    snapshot.generations[key] = made._replace(prompt="")
    client_log.may_delete(key, made.prompt)


BREAKS = [
    ("1 balance", _account(balance_micros=OPENING_MICROS)),
    ("2 spent", _account(spent_micros=0)),
    ("2 spent", _made(0, cost_micros=100)),
    ("3 generations", _account(settlement_count=2)),
    ("3 generations", _second_settlement),
    ("4 reserved", _account(reserved_micros=100)),
    ("4 reserved", _made(1, status="queued")),
    ("5 0", _account(reserved_micros=2 * OPENING_MICROS)),
    ("6 entries", _entry(2, balance_after_micros=0)),
    ("6 entries", _entry(2, sequence=9)),
    ("6 entries", _account(balance_micros=0)),
    ("7 one", _second_settlement),
    ("7 one", _made(1, status="completed", cost_micros=factories.QUOTE_MICROS)),
    ("7 one", _made(0, status="failed")),
    ("8 every", _lost_row),
    ("8 every", _reply(cost="0.0001")),
    ("8 every", _reply(generation_id=10**9)),
    ("8 every", _foreign_order),
    ("8 every", _made(0, account_id=0)),
    ("8 nothing", _second_purchase),
    ("8 nothing", _foreign_order),
    ("8 nothing", _reply(digest="another")),
    ("8 nothing", _bought_again),
    ("8 cancelled", _completed_after_all),
    ("8 cancelled", _kept_after_deletion),
    ("9 nothing", _made(1, status="running")),
    ("9 nothing", _account(reserved_micros=100)),
    ("9 objects", _lost_object),
    ("9 objects", _orphan),
    ("9 no key", _image(wrapped_key=None)),
    ("9 no key", _image(is_expired=True)),
    ("9 no key", _made(0, image_id=None)),
]


@pytest.mark.parametrize(("name", "breaks"), BREAKS)
def test_an_invariant_speaks_up_when_it_is_broken(
    state: State, name: str, breaks: Callable[[Snapshot, ClientLog], None]
) -> None:
    breaks(*state)
    ((_, invariant),) = [pair for pair in INVARIANTS.items() if pair[0].startswith(f"{name} ")]
    assert list(invariant(*state)) != []


def test_an_object_that_was_removed_behind_the_service_is_not_missed(state: State) -> None:
    snapshot, client_log = state
    snapshot.object_keys = set()
    client_log.spoil(min(snapshot.generations), status=500)
    assert list(INVARIANTS["9 objects = live images"](snapshot, client_log)) == []


def _told(generation: Generation) -> Reply:
    was_made = generation.status == Status.COMPLETED
    return Reply(
        at=0.0,
        status=200 if was_made else 500,
        error_type=generation.error_type,
        generation_id=generation.pk,
        digest="digest" if was_made else "",
        token="",
        cost="0.0267" if was_made else "",
        was_replayed=False,
    )


def _name(generation: Generation) -> str:
    assert generation.image is not None
    assert storages["objects"].exists(generation.image.object_key)
    return generation.image.object_key
