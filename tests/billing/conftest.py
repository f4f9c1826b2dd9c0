"""Fixtures of billing's tests."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from billing import ledger
from billing.models import Account
from tests.browsers import sign_in


@pytest.fixture
def account() -> Account:
    """Open an account with 10 dollars; the test itself asks for the database."""
    return ledger.open_account(name="demo", opening_micros=10_000_000, actor="test")


@pytest.fixture
def staff(client: Client) -> Client:
    """Log a superuser in, and return the browser."""
    return sign_in(client, User.objects.create_superuser("ada"))
