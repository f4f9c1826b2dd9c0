"""What billing's tests start from."""

import pytest

from billing import ledger
from billing.models import Account


@pytest.fixture
def account() -> Account:
    """An account with 10 dollars; the test itself asks for the database."""
    return ledger.open_account(name="demo", opening_micros=10_000_000, actor="test")
