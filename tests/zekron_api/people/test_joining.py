"""Invitations: somebody known joins by a button, and somebody new by a password, also while sign-up is closed."""

import pytest
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client

from billing import invitations, memberships
from billing.membership_models import Membership
from billing.models import Account
from tests import factories
from tests.assertions import refusal
from tests.browsers import sign_in
from tests.zekron_api.people.conftest import PASSWORD
from tests.zekron_api.people.pages import is_signed_in, log_in

pytestmark = pytest.mark.django_db
EVE = {"email": "eve@example.com", "password1": PASSWORD}


@pytest.fixture
def account() -> Account:
    """Open an account."""
    return factories.account()


@pytest.fixture
def path(account: Account) -> str:
    """Invite Eve, and return the path of her link."""
    issued = invitations.create(
        account_id=account.pk, email="eve@example.com", role="member", invited_by="ada"
    )
    return f"/invitations/{issued.token}"


def members(account: Account) -> list[tuple[str, str]]:
    return [(each.user.username, each.role) for each in memberships.list_of_account(account_id=account.pk)]


def test_somebody_new_becomes_a_member_and_is_signed_in(account: Account, path: str) -> None:
    browser = Client()
    assert browser.get(path).context["form"]["email"].value() == "eve@example.com"
    assert browser.post(path, EVE).headers["Location"] == f"/console/{account.pk}/"
    assert members(account) == [("eve", "member")]
    assert is_signed_in(browser)
    assert log_in("eve@example.com").headers["Location"] == "/console/"
    assert Account.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_link_makes_one_person(account: Account, path: str) -> None:
    def join(number: int) -> int:
        return Client().post(path, EVE | {"email": f"eve{number}@example.com"}).status_code

    assert sorted(map(int, factories.at_once(4, join))) == [302, 404, 404, 404]
    assert User.objects.count() == Membership.objects.count() == 1


def test_somebody_who_is_signed_in_joins_by_a_button(account: Account, path: str, bob: User) -> None:
    browser = sign_in(Client(), bob)
    assert "Join as bob" in browser.get(path).content.decode()
    assert members(account) == []
    assert browser.post(path).headers["Location"] == f"/console/{account.pk}/"
    assert members(account) == [("bob", "member")]
    assert refusal(browser.get(path)) == (404, "not_found")


def test_a_member_keeps_the_higher_role(account: Account, path: str, bob: User) -> None:
    memberships.add(user_id=bob.pk, account_id=account.pk, role="owner")
    sign_in(Client(), bob).post(path)
    assert members(account) == [("bob", "owner")]


def test_somebody_known_signs_in_first_and_comes_back(path: str, bob: User) -> None:
    page = Client().get(path).content.decode()
    assert f'href="/me/login/?next={path}"' in page
    assert log_in("bob", next=path).headers["Location"] == path


def test_a_known_address_is_told_to_sign_in_and_nothing_typed_is_lost(
    account: Account, path: str, bob: User
) -> None:
    reply = Client().post(path, EVE | {"email": "bob@example.com"})
    assert "Somebody with this address exists" in reply.content.decode()
    assert reply.context["form"]["email"].value() == "bob@example.com"
    assert (members(account), User.objects.count()) == ([], 1)
    assert Client().get(path).status_code == 200


def test_a_weak_password_is_refused_with_its_reason(account: Account, path: str) -> None:
    reply = Client().post(path, EVE | {"password1": "short"})
    assert "too short" in reply.content.decode()
    assert (members(account), User.objects.count()) == ([], 0)


def test_an_invited_person_need_not_confirm_the_address(account: Account, path: str, mail: None) -> None:
    browser = Client()
    browser.post(path, EVE)
    assert is_signed_in(browser)
    assert log_in("eve@example.com").headers["Location"] == "/console/"
    assert outbox.outbox == []


@pytest.mark.parametrize("token", ["x", "a" * 43, "a" * 5000])
def test_an_unknown_invitation_is_not_found(token: str) -> None:
    assert refusal(Client().get(f"/invitations/{token}")) == (404, "not_found")
    assert refusal(Client().post(f"/invitations/{token}", EVE)) == (404, "not_found")


def test_a_revoked_invitation_makes_nobody(account: Account, path: str) -> None:
    [open_one] = invitations.list_open(account_id=account.pk)
    invitations.revoke(invitation_id=open_one.pk, account_id=account.pk)
    assert Client().post(path, EVE).status_code == 404
    assert not User.objects.exists()
