"""Very many accounts at once, each with money and a key."""

from itertools import count
from typing import Final, NamedTuple

from billing import keys
from billing.models import Account, ApiKey

BALANCE_MICROS: Final = 10**9

_names = count(1)


class KeyedAccount(NamedTuple):
    """An account and its key."""

    account: Account
    key: str


def open_accounts(number: int) -> list[KeyedAccount]:
    """Return as many new accounts, written in a few statements."""
    names = [f"benchmark account {next(_names)}" for _ in range(number)]
    owners = Account.objects.bulk_create(
        [Account(name=name, balance_micros=BALANCE_MICROS) for name in names], batch_size=1000
    )
    texts = [f"{keys.PREFIX}{name.replace(' ', '')}" for name in names]
    ApiKey.objects.bulk_create(
        [
            ApiKey(account=owner, digest=keys.digest(text), prefix=text[:12], last_four=text[-4:])
            for owner, text in zip(owners, texts, strict=True)
        ],
        batch_size=1000,
    )
    return [KeyedAccount(*pair) for pair in zip(owners, texts, strict=True)]
