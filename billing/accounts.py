"""Finds accounts and says whether they may spend. Balances are the ledger's."""

from billing.models import Account


def find(*, text: str) -> Account:
    """The account of this name or id; no name is a number, so never both. Raises Account.DoesNotExist."""
    is_id = text.isascii() and text.isdigit() and len(text) <= 18
    try:
        return Account.objects.get(pk=int(text)) if is_id else Account.objects.get(name=text)
    except Account.DoesNotExist:
        raise Account.DoesNotExist(f"There is no account {text!r}.") from None


def suspend(*, account_id: int) -> None:
    """Stops new work; what was accepted goes on and is charged. Twice is as once. Raises DoesNotExist."""
    _set_status(account_id, Account.Status.SUSPENDED)


def reinstate(*, account_id: int) -> None:
    """Lets a suspended account spend again. Twice is as once. Raises DoesNotExist."""
    _set_status(account_id, Account.Status.ACTIVE)


def _set_status(account_id: int, status: str) -> None:
    # The row lock of this update waits for a submission that holds the account, and the next one sees it.
    if Account.objects.filter(pk=account_id).update(status=status) != 1:
        raise Account.DoesNotExist(f"There is no account {account_id}.")
