"""Refusals of the table of idempotency keys, whatever the code before it does."""

import pytest
from django.db import IntegrityError

from billing.models import Account
from tests import factories
from workers.models import IdempotencyKey

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
