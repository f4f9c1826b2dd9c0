"""Idempotency keys: the digests, what the table refuses, and when a key is forgotten."""

import hashlib
from datetime import datetime, timedelta

import pytest
from django.db import IntegrityError, transaction
from pytest_django import Settings

from billing.models import Account
from tests import factories
from tests.database import start_elsewhere
from tests.factories import NOW
from workers.lifecycle import generations, idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, IdempotencyKey

pytestmark = pytest.mark.django_db
A_DAY_LATER = factories.NOW + timedelta(hours=24)
MICROSECOND = timedelta(microseconds=1)


def remember(owner: Account) -> IdempotencyKey:
    """Store a key of this account, always the same."""
    return IdempotencyKey.objects.create(
        account=owner,
        key_digest="0" * 64,
        request_digest="1" * 64,
        generation=factories.submit(owner),
        created_at=factories.NOW,
    )


def test_an_account_has_a_key_once_and_another_account_may_have_the_same() -> None:
    first, second = factories.account(), factories.account()
    remember(first)
    remember(second)
    with pytest.raises(IntegrityError, match="idempotency_key_once"):
        remember(first)


REQUEST: list[str | bytes] = ["a boat", "zekron-image-1", "512x512", b"first", b"second"]


def stored(named: Idempotency) -> IdempotencyKey:
    """Store a key as this release does, with a generation that is completed at once, and return its row."""
    _complete(factories.submit(factories.account(), idempotency=named))
    return IdempotencyKey.objects.get()


def _complete(generation: Generation, now: datetime = NOW) -> Generation:
    return factories.finish(factories.claim(generation_id=generation.pk, now=now), now=now)


def former_digest(request: list[str | bytes]) -> str:
    """Return the digest that the first release stored."""
    parts = [part.encode() if isinstance(part, str) else part for part in request]
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def test_the_digest_of_a_request_needs_the_secret_key(settings: Settings) -> None:
    row = stored(Idempotency.of(key="k", request=REQUEST))
    assert row.request_digest != former_digest(REQUEST)
    settings.SECRET_KEY = "another secret key of a service, which is long enough for it"
    assert Idempotency.of(key="k", request=REQUEST).request_digest != row.request_digest


def test_a_digest_that_the_release_before_stored_still_matches() -> None:
    row = stored(Idempotency.of(key="k", request=REQUEST))
    IdempotencyKey.objects.update(request_digest=former_digest(REQUEST))
    again = Idempotency.of(key="k", request=REQUEST)
    found = idempotency.find(account_id=row.account_id, idempotency=again, now=NOW)
    assert found == row.generation
    other = Idempotency.of(key="k", request=["a cat", *REQUEST[1:]])
    with pytest.raises(idempotency.KeyReused):
        idempotency.find(account_id=row.account_id, idempotency=other, now=NOW)


@pytest.mark.parametrize(
    "other",
    [
        ["a cat", *REQUEST[1:]],
        ["a boat", "another-model", *REQUEST[2:]],
        ["a boat", "zekron-image-1", "1024x1024", *REQUEST[3:]],
        [*REQUEST[:3], b"second", b"first"],
        [*REQUEST[:3], b"first"],
        [*REQUEST[:3], b"firstsecond"],
    ],
    ids=["prompt", "model", "size", "order of images", "fewer images", "boundaries"],
)
def test_another_request_has_another_digest(other: list[str | bytes]) -> None:
    one, two = (Idempotency.of(key="k", request=request) for request in (REQUEST, other))
    assert one.request_digest != two.request_digest
    assert one.former_digests != two.former_digests


def test_a_key_is_forgotten_after_a_day_and_not_before() -> None:
    stored(Idempotency.of(key="k", request=REQUEST))
    day = timedelta(hours=24)
    assert idempotency.forget(limit=10, now=NOW + day - timedelta(microseconds=1)) == 0
    assert idempotency.forget(limit=10, now=NOW + day) == 1


def test_a_key_is_found_until_it_is_forgotten() -> None:
    named = Idempotency.of(key="k", request=REQUEST)
    row = stored(named)
    last = NOW + timedelta(hours=24) - timedelta(microseconds=1)
    assert idempotency.find(account_id=row.account_id, idempotency=named, now=last) == row.generation
    over = NOW + timedelta(hours=24)
    assert idempotency.find(account_id=row.account_id, idempotency=named, now=over) is None


@pytest.mark.django_db(transaction=True)
def test_a_key_that_a_submission_renews_at_the_same_moment_is_not_forgotten() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    _complete(factories.submit(owner, idempotency=named))
    today = factories.NOW + idempotency.KEY_LIFE + timedelta(seconds=1)
    with transaction.atomic():
        renewed = factories.submit(owner, idempotency=named, now=today)
        forgotten = start_elsewhere(lambda: idempotency.forget(limit=500, now=today))
    assert forgotten.result() == 0
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(owner, idempotency=named, now=today)
    assert replayed.value.generation == renewed
    assert Generation.objects.filter(created_at=today).count() == 1


def test_a_key_is_honoured_for_a_day_and_no_longer() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    accepted = _complete(factories.submit(owner, idempotency=named))
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(owner, idempotency=named, now=A_DAY_LATER - MICROSECOND)
    assert replayed.value.generation == accepted
    assert factories.submit(owner, idempotency=named, now=A_DAY_LATER) != accepted


def test_a_key_lives_at_least_as_long_as_its_image() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    queued = factories.submit(owner, idempotency=named, queue_seconds=86_400)
    assert idempotency.forget(limit=10, now=A_DAY_LATER) == 0
    with pytest.raises(idempotency.AlreadyAccepted):
        factories.submit(owner, idempotency=named, now=A_DAY_LATER)
    done = _complete(queued, now=A_DAY_LATER - MICROSECOND)
    assert done.expires_at is not None
    last = done.expires_at - MICROSECOND
    assert idempotency.forget(limit=10, now=last) == 0
    with pytest.raises(idempotency.AlreadyAccepted):
        factories.submit(owner, idempotency=named, now=last)
    assert factories.submit(owner, idempotency=named, now=done.expires_at) != done


def test_the_second_of_two_equal_submissions_holds_nothing() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    accepted = factories.submit(owner, idempotency=named)
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(owner, idempotency=named)
    assert replayed.value.generation == accepted
    owner.refresh_from_db()
    assert (owner.reserved_micros, owner.hold_count) == (factories.QUOTE_MICROS, 1)


@pytest.mark.parametrize("limit", [{"balance_micros": factories.QUOTE_MICROS}, {"open_limit": 1}], ids=str)
def test_the_twin_of_an_accepted_submission_is_no_refusal_where_no_other_would_be_accepted(
    limit: dict[str, int],
) -> None:
    owner = factories.account(balance_micros=limit.get("balance_micros", 10_000_000))
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    accepted = factories.submit(owner, idempotency=named)
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(owner, idempotency=named, open_limit=limit.get("open_limit", 1000))
    assert replayed.value.generation == accepted


@pytest.mark.parametrize("is_claimed", [True, False], ids=["failed", "cancelled"])
def test_the_key_of_a_generation_that_ended_without_an_image_is_free(is_claimed: bool) -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    ended = factories.submit(owner, idempotency=named)
    if is_claimed:
        running = factories.claim(generation_id=ended.pk, now=factories.NOW)
        generations.fail(generation=running, **factories.ERROR)
    else:
        generations.cancel(generation=ended, error_type="service_busy", error_code="X")
    # A request asks both: whether the key is taken, and the statement that takes it.
    assert idempotency.find(account_id=owner.pk, idempotency=named, now=factories.NOW) is None
    second = factories.submit(owner, idempotency=named)
    assert second != ended
    assert idempotency.find(account_id=owner.pk, idempotency=named, now=factories.NOW) == second


@pytest.mark.parametrize(
    "other", [["a", "boat"], ["boat", "a "], ["a boat", ""], ["a boat", b""], ["A boat"], []], ids=repr
)
def test_other_parts_of_a_request_or_other_bounds_between_them_give_another_digest(
    other: list[str | bytes],
) -> None:
    first = Idempotency.of(key="k", request=["a ", "boat"])
    again, second = Idempotency.of(key="k", request=["a ", b"boat"]), Idempotency.of(key="k", request=other)
    assert again == first
    assert second.request_digest != first.request_digest
    assert second.key_digest == first.key_digest
