"""The lookup of accounts and their status. Only the ledger changes balances."""

from typing import Final

from django.db.models import F, Func, QuerySet, Value
from django.db.models.functions import Trim

from billing import account_names
from billing.models import Account
from billing.recent_keys import forget_after_commit

# Whoever may open an account may give it this balance. More needs the permission to move money.
DEFAULT_OPENING_USD: Final = "10.00"


def find(*, text: str) -> Account:
    """Return the account with this name or id. A name is never a number.

    Raises Account.DoesNotExist, or ValueError if several accounts of an older release have names that look like this.
    """
    is_id = text.isascii() and text.isdigit() and len(text) <= 18
    try:
        if is_id:
            return Account.objects.get(pk=int(text))
        return _find_by_name(text)
    except Account.DoesNotExist:
        raise Account.DoesNotExist(f"Account {text!r} does not exist.") from None


def lock(*, account_id: int) -> Account:
    """Return the account, locked until the end of the caller's transaction. Raises Account.DoesNotExist.

    With FOR NO KEY UPDATE, rows that refer to the account can still be inserted, which avoids deadlocks.
    """
    return Account.objects.select_for_update(no_key=True).get(pk=account_id)


def named_alike(name: str) -> QuerySet[Account]:
    """Return the accounts whose names have this spelling. Those of an older release are stored in others."""
    composed = Func(F("name"), template="normalize(%(expressions)s, NFKC)")
    spaced = Func(composed, Value("\\s+"), Value(" "), Value("g"), function="regexp_replace")
    return Account.objects.annotate(spelling=Trim(spaced)).filter(spelling=name)


def _find_by_name(text: str) -> Account:
    try:
        found = list(named_alike(account_names.normalise(text))[:2])
    except ValueError:
        # It can only be the name of an account of an older release.
        return Account.objects.get(name=text.replace("\0", ""))
    if len(found) > 1:
        raise ValueError(f"Several accounts have names that look like {text!r}. Give the id of one.")
    if not found:
        raise Account.DoesNotExist
    return found[0]


def suspend(*, account_id: int) -> None:
    """Refuse new work of the account from the commit on. Accepted work continues and is charged.

    Its other requests are refused by this process from the commit on, and by others within MAX_AGE_SECONDS of
    `recent_keys`. May be called twice. Raises Account.DoesNotExist.
    """
    _set_status(account_id, Account.Status.SUSPENDED)


def reinstate(*, account_id: int) -> None:
    """Let a suspended account spend again. May be called twice. Raises Account.DoesNotExist."""
    _set_status(account_id, Account.Status.ACTIVE)


def note_disabled_webhooks(*, account_id: int, count: int) -> None:
    """Note how many of its webhooks the service has disabled. Other processes see it within MAX_AGE_SECONDS."""
    if (
        Account.objects.filter(pk=account_id)
        .exclude(disabled_webhook_count=count)
        .update(disabled_webhook_count=count)
    ):
        forget_after_commit()


def _set_status(account_id: int, status: str) -> None:
    # This update waits for a submission that has locked the account's row. The next submission sees the new status.
    if Account.objects.filter(pk=account_id).update(status=status) != 1:
        raise Account.DoesNotExist(f"Account {account_id} does not exist.")
    forget_after_commit()
