"""The people of an account and their roles. An account that has an owner keeps one."""

from collections.abc import Mapping
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from billing import accounts
from billing.grants import Grants, Scope
from billing.membership_models import Membership, Role

# A viewer cannot spend, and only owners give away rights or see to money.
_SCOPES: Final[Mapping[str, tuple[Scope, ...]]] = {
    Role.VIEWER: (Scope.READ, Scope.USAGE),
    Role.MEMBER: (Scope.GENERATE, Scope.READ, Scope.DELETE, Scope.USAGE),
    Role.OWNER: tuple(Scope),
}


class LastOwner(Exception):
    """The account has no other owner, so this one must stay."""


def grants_of(role: str) -> Grants:
    """Return what a person with this role may do, in the terms of API keys."""
    return Grants(scopes=_SCOPES[role])


def find(*, user_id: int, account_id: int) -> Membership:
    """Return the person's membership with its account. Raises Membership.DoesNotExist."""
    return Membership.objects.select_related("account").get(user_id=user_id, account_id=account_id)


def list_of_user(*, user_id: int) -> QuerySet[Membership]:
    """Return the memberships of a person with their accounts, the oldest first."""
    return Membership.objects.filter(user_id=user_id).select_related("account").order_by("created_at", "pk")


def list_of_account(*, account_id: int) -> QuerySet[Membership]:
    """Return the memberships of an account with their people, the oldest first."""
    return (
        Membership.objects.filter(account_id=account_id).select_related("user").order_by("created_at", "pk")
    )


def add(*, user_id: int, account_id: int, role: str) -> Membership:
    """Give the person a role in the account. A person who has one keeps it, so it may be called twice."""
    membership, _ = Membership.objects.get_or_create(
        user_id=user_id, account_id=account_id, defaults={"role": Role(role)}
    )
    return membership


def change_role(*, membership_id: int, account_id: int, role: str) -> None:
    """Give a person of the account another role. Raises LastOwner or Membership.DoesNotExist."""
    with transaction.atomic():
        membership = _lock(membership_id, account_id)
        if role != Role.OWNER:
            _refuse_last_owner(membership)
        membership.role = Role(role)
        membership.save(update_fields=["role"])


def remove(*, membership_id: int, account_id: int) -> None:
    """Take a person out of the account. Raises LastOwner or Membership.DoesNotExist."""
    with transaction.atomic():
        membership = _lock(membership_id, account_id)
        _refuse_last_owner(membership)
        membership.delete()


def _lock(membership_id: int, account_id: int) -> Membership:
    """Return the membership. The lock of the account keeps two owners from removing each other at once."""
    accounts.lock(account_id=account_id)
    return Membership.objects.get(pk=membership_id, account_id=account_id)


def _refuse_last_owner(membership: Membership) -> None:
    owners = Membership.objects.filter(account_id=membership.account_id, role=Role.OWNER)
    if membership.role == Role.OWNER and not owners.exclude(pk=membership.pk).exists():
        raise LastOwner("An account must keep an owner. Make somebody else an owner first.")
