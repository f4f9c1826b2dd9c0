"""The one statement that accepts a request: twins, several pictures, and all of it or nothing."""

from typing import Any

import pytest
from django.db import transaction

from billing import audit, ledger
from billing.models import Account, LedgerEntry
from storage import images
from tests import factories
from tests.database import start_elsewhere
from tests.factories import QUOTE_MICROS
from workers.audit import rows
from workers.lifecycle import generations, idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, IdempotencyKey, Kind, SourceImage

pytestmark = pytest.mark.django_db(transaction=True)
NAMED = Idempotency.of(key="my-order-7", request=["a boat"])
THREE: list[dict[str, int]] = [{"width": 512, "height": 512, "seed": seed} for seed in (7, 8, 9)]


def _figures(owner: Account) -> tuple[int, int, int]:
    owner.refresh_from_db()
    return owner.reserved_micros, owner.hold_count, owner.open_hold_count


def _assert_nothing_disagrees() -> None:
    assert [*audit.audit(), *rows.find_disagreements()] == []


def _submit_twins(owner: Account, count: int) -> list[Any]:
    return factories.at_once(count, lambda _: factories.submit(owner, now=None, idempotency=NAMED))


def test_64_at_once_under_one_key_hold_once() -> None:
    owner = factories.account()
    outcomes = _submit_twins(owner, 64)
    [accepted] = [each for each in outcomes if isinstance(each, Generation)]
    replayed = [each.generation for each in outcomes if isinstance(each, idempotency.AlreadyAccepted)]
    assert replayed == [accepted] * 63
    assert Generation.objects.count() == 1
    assert _figures(owner) == (QUOTE_MICROS, 1, 1)
    _assert_nothing_disagrees()


def test_64_at_once_under_the_key_of_a_failed_generation_hold_once_more() -> None:
    owner = factories.account()
    failed = factories.submit(owner, now=None, idempotency=NAMED)
    generations.cancel(generation=failed, error_type="service_busy", error_code="X")
    outcomes = _submit_twins(owner, 64)
    assert sum(isinstance(each, Generation) for each in outcomes) == 1
    assert sum(isinstance(each, idempotency.AlreadyAccepted) for each in outcomes) == 63
    assert IdempotencyKey.objects.get().generation != failed
    assert _figures(owner) == (QUOTE_MICROS, 2, 1)
    _assert_nothing_disagrees()


def test_a_twin_that_waited_for_the_lock_finds_the_key_taken() -> None:
    owner = factories.account()
    with transaction.atomic():
        accepted = factories.submit(owner, idempotency=NAMED)
        # Its statement begins before the first one is committed, so it can see neither row nor key.
        twin = start_elsewhere(lambda: factories.submit(owner, idempotency=NAMED))
        assert not twin.done()
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        twin.result()
    assert replayed.value.generation == accepted
    assert _figures(owner) == (QUOTE_MICROS, 1, 1)


def test_a_key_is_free_for_a_twin_that_waited_for_a_submission_that_was_rolled_back() -> None:
    owner = factories.account()
    with transaction.atomic():
        factories.submit(owner, idempotency=NAMED)
        twin = start_elsewhere(lambda: factories.submit(owner, idempotency=NAMED))
        transaction.set_rollback(True)
    assert twin.result() == Generation.objects.get()
    assert _figures(owner) == (QUOTE_MICROS, 1, 1)
    _assert_nothing_disagrees()


def test_several_pictures_are_held_and_queued_one_by_one() -> None:
    owner = factories.account()
    factories.submit(owner)
    made = factories.submit_all(owner, parameters=THREE, idempotency=NAMED)
    assert [each.parameters["seed"] for each in made] == [7, 8, 9]
    assert [each.number for each in made] == [2, 3, 4]
    assert [(each.turn_at - factories.NOW).total_seconds() for each in made] == [5, 10, 15]
    assert len({each.reservation_id for each in made}) == 3
    assert IdempotencyKey.objects.get().generation == made[0]
    assert _figures(owner) == (4 * QUOTE_MICROS, 4, 4)
    held = LedgerEntry.objects.filter(account=owner, kind="hold").order_by("sequence")
    assert [entry.reserved_after_micros // QUOTE_MICROS for entry in held] == [1, 2, 3, 4]
    _assert_nothing_disagrees()


def test_several_pictures_end_one_by_one() -> None:
    owner = factories.account()
    first, second, third = factories.submit_all(owner, parameters=THREE)
    factories.finish(factories.claim(generation_id=second.pk, now=factories.NOW))
    generations.cancel(generation=first, error_type="service_busy", error_code="X")
    owner.refresh_from_db()
    assert (owner.spent_micros, owner.reserved_micros) == (QUOTE_MICROS, QUOTE_MICROS)
    assert Generation.objects.get(pk=third.pk).is_open
    _assert_nothing_disagrees()


def test_each_picture_has_its_own_sources_in_their_order() -> None:
    sources = [[factories.sealed(b"%d %d" % (each, place)) for place in (1, 2)] for each in (1, 2)]
    made = factories.submit_all(
        factories.account(), parameters=THREE[:2], kind=Kind.EDIT, sources=sources, idempotency=NAMED
    )
    read = [
        [images.load(image=source.image) for source in SourceImage.objects.filter(generation=generation)]
        for generation in made
    ]
    assert read == [[b"1 1", b"1 2"], [b"2 1", b"2 2"]]


@pytest.mark.parametrize(
    ("limit", "refusal"),
    [({"open_limit": 3}, generations.TooManyOpen), ({"balance": 3}, ledger.InsufficientBalance)],
    ids=["open generations", "money"],
)
def test_several_pictures_are_accepted_all_or_none(limit: dict[str, int], refusal: type[Exception]) -> None:
    owner = factories.account(balance_micros=limit.get("balance", 100) * QUOTE_MICROS)
    factories.submit(owner)
    for count, is_accepted in ((3, False), (2, True)):
        before = _figures(owner)
        try:
            factories.submit_all(owner, open_limit=limit.get("open_limit", 9), parameters=THREE[:count])
        except refusal:
            assert not is_accepted
            assert _figures(owner) == before
    assert _figures(owner) == (3 * QUOTE_MICROS, 3, 3)
    _assert_nothing_disagrees()
