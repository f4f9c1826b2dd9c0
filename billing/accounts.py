"""The lookup of accounts and their status. Only the ledger changes balances."""

from typing import Final

from billing import account_names
from billing.models import Account
from billing.recent_keys import forget_after_commit

# Whoever may open an account may give it this balance. More needs the permission to move money.
DEFAULT_OPENING_USD: Final = "10.00"


def find(*, text: str) -> Account:
    """Return the account with this name or id. A name is never a number. Raises Account.DoesNotExist.

    An account that was opened before names had one spelling is found by its own one.
    """
    is_id = text.isascii() and text.isdigit() and len(text) <= 18
    try:
        if is_id:
            return Account.objects.get(pk=int(text))
        return _find_by_name(text)
    except (Account.DoesNotExist, ValueError):
        raise Account.DoesNotExist(f"Account {text!r} does not exist.") from None


def _find_by_name(name: str) -> Account:
    """Return the account. Raises Account.DoesNotExist, or ValueError for a text that is no name."""
    try:
        return Account.objects.get(name=name)
    except Account.DoesNotExist:
        return Account.objects.get(name=account_names.normalise(name))


def suspend(*, account_id: int) -> None:
    """Refuse new work of the account from the commit on. Accepted work continues and is charged.

    Its other requests are refused by this process from the commit on, and by others within MAX_AGE_SECONDS of
    `recent_keys`. May be called twice. Raises Account.DoesNotExist.
    """
    _set_status(account_id, Account.Status.SUSPENDED)


def reinstate(*, account_id: int) -> None:
    """Let a suspended account spend again. May be called twice. Raises Account.DoesNotExist."""
    _set_status(account_id, Account.Status.ACTIVE)


def _set_status(account_id: int, status: str) -> None:
    # This update waits for a submission that has locked the account's row. The next submission sees the new status.
    if Account.objects.filter(pk=account_id).update(status=status) != 1:
        raise Account.DoesNotExist(f"Account {account_id} does not exist.")
    forget_after_commit()
