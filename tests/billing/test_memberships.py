"""Memberships: the roles of people in an account, which never loses its last owner."""

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from billing import memberships
from billing.grants import Scope
from billing.membership_models import Membership, Role
from billing.models import Account
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


def join(account: Account, name: str, role: str) -> Membership:
    return memberships.add(user_id=User.objects.create_user(name).pk, account_id=account.pk, role=role)


@pytest.mark.parametrize(
    ("role", "scopes"),
    [
        (Role.VIEWER, {Scope.READ, Scope.USAGE}),
        (Role.MEMBER, {Scope.GENERATE, Scope.READ, Scope.DELETE, Scope.USAGE}),
        (Role.OWNER, set(Scope)),
    ],
)
def test_a_role_grants_its_scopes_and_no_others(role: str, scopes: set[Scope]) -> None:
    assert set(memberships.grants_of(role).scopes) == scopes


def test_a_member_keeps_the_first_role(account: Account) -> None:
    first = join(account, "ada", Role.VIEWER)
    again = memberships.add(user_id=first.user_id, account_id=account.pk, role=Role.OWNER)
    assert (again.pk, again.role) == (first.pk, Role.VIEWER)


def test_the_last_owner_stays_an_owner(account: Account) -> None:
    owner = join(account, "ada", Role.OWNER)
    join(account, "ben", Role.MEMBER)
    with pytest.raises(memberships.LastOwner):
        memberships.change_role(membership_id=owner.pk, account_id=account.pk, role=Role.MEMBER)
    with pytest.raises(memberships.LastOwner):
        memberships.remove(membership_id=owner.pk, account_id=account.pk)
    owner.refresh_from_db()
    assert owner.role == Role.OWNER


def test_one_of_two_owners_may_go(account: Account) -> None:
    first, second = join(account, "ada", Role.OWNER), join(account, "ben", Role.OWNER)
    memberships.change_role(membership_id=first.pk, account_id=account.pk, role=Role.VIEWER)
    memberships.remove(membership_id=first.pk, account_id=account.pk)
    assert [each.pk for each in memberships.list_of_account(account_id=account.pk)] == [second.pk]


def test_nobody_changes_the_people_of_another_account(account: Account) -> None:
    stranger = join(factories.account(), "eve", Role.MEMBER)
    with pytest.raises(Membership.DoesNotExist):
        memberships.change_role(membership_id=stranger.pk, account_id=account.pk, role=Role.OWNER)
    with pytest.raises(Membership.DoesNotExist):
        memberships.remove(membership_id=stranger.pk, account_id=account.pk)


def test_the_database_refuses_an_unknown_role_and_a_second_membership(account: Account) -> None:
    member = join(account, "ada", Role.MEMBER)
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.filter(pk=member.pk).update(role="king")
    with pytest.raises(IntegrityError), transaction.atomic():
        Membership.objects.create(user_id=member.user_id, account=account, role=Role.OWNER)


@pytest.mark.django_db(transaction=True)
def test_two_owners_cannot_remove_each_other_at_once(account: Account) -> None:
    both = [join(account, "ada", Role.OWNER), join(account, "ben", Role.OWNER)]
    results = factories.at_once(
        2, lambda index: memberships.remove(membership_id=both[index].pk, account_id=account.pk)
    )
    assert sorted(type(result).__name__ for result in results) == ["LastOwner", "NoneType"]
