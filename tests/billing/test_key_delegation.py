"""People who manage the keys of their account."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from billing import key_delegation, keys, memberships
from billing.grants import Scope
from billing.key_delegation import Holder
from billing.membership_models import Role
from billing.models import Account
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return factories.account()


def holder(account: Account, role: str = Role.OWNER) -> Holder:
    """Make a person with this role, who manages the account's keys."""
    user = User.objects.create_user(f"{role} of {account.pk}")
    memberships.add(user_id=user.pk, account_id=account.pk, role=role)
    return Holder(account_id=account.pk, person_id=user.pk)


def test_an_owner_issues_changes_rotates_and_revokes_a_key(account: Account) -> None:
    owner = holder(account)
    key, _ = key_delegation.issue(holder=owner, name="laptop", changes={"scopes": tuple(Scope)})
    key_delegation.change(holder=owner, key_id=key.pk, changes={"open_limit": 2})
    _, text = key_delegation.rotate(holder=owner, key_id=key.pk, overlap=timedelta(0))
    live = keys.authenticate(text=text)
    assert (live.id, live.grants.open_limit, live.grants.scopes) == (key.pk, 2, tuple(Scope))
    key_delegation.revoke(holder=owner, key_id=key.pk)
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_issue_keys(account: Account, role: str) -> None:
    with pytest.raises(key_delegation.NotGranted):
        key_delegation.issue(holder=holder(account, role), name="", changes={})


def test_an_owner_of_another_account_manages_no_keys(account: Account) -> None:
    stranger = holder(factories.account())
    with pytest.raises(key_delegation.NotGranted):
        key_delegation.issue(
            holder=Holder(account_id=account.pk, person_id=stranger.person_id), name="", changes={}
        )


def test_an_account_has_at_most_a_hundred_keys_also_by_people(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_delegation, "MAX_KEYS", 1)
    owner = holder(account)
    key_delegation.issue(holder=owner, name="", changes={})
    with pytest.raises(key_delegation.TooManyKeys):
        key_delegation.issue(holder=owner, name="", changes={})
