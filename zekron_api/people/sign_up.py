"""The account of somebody who signs up without an invitation. It begins empty, and the person owns it."""

from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction

from billing import account_names, ledger, memberships
from billing.membership_models import Role
from billing.models import Account

# Room for the number that makes a name one of a kind.
_MAX_CHARACTERS: Final = account_names.MAX_CHARACTERS - 12


def on_signed_up(*, user: User, **_signal: Any) -> None:
    """Open the account at once where no mail is sent, so that no address can be confirmed."""
    if not settings.SENDS_MAIL:
        open_account(user=user)


def on_email_confirmed(*, email_address: Any, **_signal: Any) -> None:
    """Open the account of somebody whose first address was just confirmed."""
    open_account(user=email_address.user)


def open_account(*, user: User) -> None:
    """Open an account for the person, unless there is one, or none is due. May be called twice."""
    if settings.SIGNUP != "open" or user.is_staff:
        return
    with transaction.atomic():
        # A second confirmation at once waits here, and then finds the account.
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not memberships.list_of_user(user_id=user.pk).exists():
            account = _open(user)
            memberships.add(user_id=user.pk, account_id=account.pk, role=Role.OWNER)


def _open(user: User) -> Account:
    name = (user.email or user.get_username())[:_MAX_CHARACTERS]
    for candidate in (name, f"{name} {user.pk}"):
        try:
            with transaction.atomic():
                return ledger.open_account(name=candidate, opening_micros=0, actor=user.get_username())
        except (ledger.NameTaken, ValueError):
            # The name of another account, or an address that is no name of an account.
            continue
    return ledger.open_account(name=f"person {user.pk}", opening_micros=0, actor=user.get_username())
