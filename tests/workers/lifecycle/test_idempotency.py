"""Idempotency keys: what their table refuses, and when they are forgotten."""

import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, connections, transaction

from billing.models import Account
from tests import factories
from tests.processes import wait_until
from workers.lifecycle import idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, IdempotencyKey

pytestmark = pytest.mark.django_db


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


@pytest.mark.django_db(transaction=True)
def test_a_key_that_a_submission_renews_at_the_same_moment_is_not_forgotten() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    factories.submit(owner, idempotency=named)
    today = factories.NOW + idempotency.KEY_LIFE + timedelta(seconds=1)
    forgotten: list[int] = []

    def sweep() -> None:
        forgotten.append(idempotency.forget(limit=500, now=today))
        connections.close_all()

    sweeper = threading.Thread(target=sweep)
    with transaction.atomic():
        renewed = factories.submit(owner, idempotency=named, now=today)
        sweeper.start()
        # It has either passed over the row or waits for its lock.
        wait_until(lambda: forgotten or _waits_for_a_lock())
    sweeper.join()
    assert forgotten == [0]
    with pytest.raises(idempotency.AlreadyAccepted) as replayed:
        factories.submit(owner, idempotency=named, now=today)
    assert replayed.value.generation == renewed
    assert Generation.objects.filter(created_at=today).count() == 1


def _waits_for_a_lock() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])


def test_a_key_is_forgotten_after_a_day_and_not_before() -> None:
    owner = factories.account()
    named = Idempotency.of(key="my-order-7", request=["a boat"])
    factories.submit(owner, idempotency=named)
    assert idempotency.forget(limit=500, now=factories.NOW + timedelta(hours=23, minutes=59)) == 0
    assert idempotency.forget(limit=500, now=factories.NOW + timedelta(hours=24)) == 1
