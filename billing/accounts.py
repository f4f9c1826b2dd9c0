"""The lookup of accounts and their status. Only the ledger changes balances."""

from typing import Final

from billing.models import Account
from billing.recent_keys import forget_after_commit

# Whoever may open an account may give it this balance. More needs the permission to move money.
DEFAULT_OPENING_USD: Final = "10.00"


def find(*, text: str) -> Account:
    """Return the account with this name or id. A name is never a number. Raises Account.DoesNotExist."""
    is_id = text.isascii() and text.isdigit() and len(text) <= 18
    try:
        return Account.objects.get(pk=int(text)) if is_id else Account.objects.get(name=text)
    except Account.DoesNotExist:
        raise Account.DoesNotExist(f"Account {text!r} does not exist.") from None


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
