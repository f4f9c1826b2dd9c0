"""Invitations: a link is used once, by whoever has it, until it is revoked or expires."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from billing import invitations, memberships
from billing.invitations import InvalidInvitation, Issued
from billing.membership_models import Invitation, Role
from billing.models import Account
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


def invite(account: Account, role: str = Role.MEMBER) -> Issued:
    return invitations.create(account_id=account.pk, email="ada@example.com", role=role, invited_by="ben")


def test_an_invitation_makes_a_member_once(account: Account) -> None:
    ada, eve = User.objects.create_user("ada"), User.objects.create_user("eve")
    issued = invite(account)
    assert invitations.accept(token=issued.token, user_id=ada.pk).role == Role.MEMBER
    with pytest.raises(InvalidInvitation):
        invitations.accept(token=issued.token, user_id=eve.pk)
    assert [each.user for each in memberships.list_of_account(account_id=account.pk)] == [ada]


def test_the_database_never_has_the_token(account: Account) -> None:
    issued = invite(account)
    row = Invitation.objects.filter(pk=issued.invitation.pk).values().get()
    assert issued.token not in str(row)


@pytest.mark.parametrize("token", ["", "x" * 43, "x" * 100_000, "\0", "é"])
def test_a_text_that_is_no_token_opens_nothing(token: str) -> None:
    with pytest.raises(InvalidInvitation):
        invitations.find(token=token)


def test_a_revoked_and_an_expired_invitation_open_nothing(account: Account) -> None:
    revoked, expired = invite(account), invite(account)
    invitations.revoke(invitation_id=revoked.invitation.pk, account_id=account.pk)
    Invitation.objects.filter(pk=expired.invitation.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    for issued in (revoked, expired):
        with pytest.raises(InvalidInvitation):
            invitations.find(token=issued.token)
    assert not invitations.list_open(account_id=account.pk).exists()


def test_only_open_invitations_of_the_account_can_be_revoked(account: Account) -> None:
    used = invite(account)
    invitations.accept(token=used.token, user_id=User.objects.create_user("ada").pk)
    foreign = invite(factories.account())
    for issued in (used, foreign):
        with pytest.raises(Invitation.DoesNotExist):
            invitations.revoke(invitation_id=issued.invitation.pk, account_id=account.pk)


def test_open_invitations_are_bounded(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 1)
    first = invite(account)
    with pytest.raises(invitations.TooManyInvitations):
        invite(account)
    invitations.revoke(invitation_id=first.invitation.pk, account_id=account.pk)
    invite(account)


def test_invitations_of_a_day_are_bounded_also_revoked_ones(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_IN_A_DAY", 1)
    first = invite(account).invitation
    invitations.revoke(invitation_id=first.pk, account_id=account.pk)
    with pytest.raises(invitations.TooManyInvitations):
        invite(account)
    Invitation.objects.filter(pk=first.pk).update(created_at=timezone.now() - timedelta(days=2))
    invite(account)


@pytest.mark.django_db(transaction=True)
def test_of_several_people_at_once_one_gets_in(account: Account) -> None:
    people = [User.objects.create_user(f"person {index}").pk for index in range(4)]
    token = invite(account).token
    results = factories.at_once(4, lambda index: invitations.accept(token=token, user_id=people[index]))
    assert sum(isinstance(result, InvalidInvitation) for result in results) == 3
    assert memberships.list_of_account(account_id=account.pk).count() == 1
