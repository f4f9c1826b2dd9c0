"""The page People: owners invite people, change roles and take people out."""

import logging
import re

import pytest
from django.core import mail
from pytest_django import Settings

from billing import accounts, invitations, memberships
from billing.membership_models import Invitation, Membership, Role
from billing.models import Account
from tests import factories
from tests.zekron_api.console.browsing import Browser, browser, text_of
from tests.zekron_api.console.people import member

pytestmark = pytest.mark.django_db

INVITED = {"email": "bo@example.com", "role": "viewer"}


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def owner(account: Account) -> Browser:
    return browser(account)


def place(account: Account, role: str = Role.MEMBER) -> Membership:
    user = member(account, role)
    return memberships.find(user_id=user.pk, account_id=account.pk)


def test_an_invitation_shows_its_link_once(owner: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zekron_api.console")
    shown = text_of(owner.send("people/invite", **INVITED))
    [token] = re.findall(r"/invitations/([\w-]+)", shown)
    invitation = invitations.find(token=token)
    assert (invitation.account, invitation.role, invitation.email) == (
        owner.account,
        "viewer",
        "bo@example.com",
    )
    assert invitation.invited_by == owner.user.username
    assert "bo@example.com" in owner.shown("people")
    assert token not in owner.get("people").content.decode() + caplog.text
    assert f"{owner.user.username} made invitation {invitation.pk} as viewer" in caplog.text
    assert mail.outbox == []


def test_an_invitation_is_mailed_where_the_service_sends_mail(owner: Browser, settings: Settings) -> None:
    settings.SENDS_MAIL = True
    shown = text_of(owner.send("people/invite", **INVITED))
    [link] = re.findall(r"https?://\S+/invitations/\S+", shown)
    [sent] = mail.outbox
    assert "We sent it to bo@example.com." in shown
    assert (sent.to, link in sent.body) == (["bo@example.com"], True)


def test_a_link_is_shown_also_when_it_cannot_be_mailed(
    owner: Browser, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    settings.SENDS_MAIL = True
    monkeypatch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)
    shown = text_of(owner.send("people/invite", **INVITED))
    assert "It could not be sent by email." in shown
    assert "/invitations/" in shown


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"email": "bo"}, "Enter a valid email address."),
        ({"email": f"{'b' * 250}@example.com"}, "at most 254 characters"),
        ({"role": "admiral"}, "not one of the available choices"),
        ({"email": "PERSON@example.com"}, "This person belongs to the account already."),
    ],
)
def test_a_wrong_invitation_is_explained(owner: Browser, fields: dict[str, str], message: str) -> None:
    reply = owner.send("people/invite", **{**INVITED, **fields})
    assert message in text_of(reply)
    assert f'value="{({**INVITED, **fields})["email"]}"' in reply.content.decode()
    assert not Invitation.objects.exists()


def test_one_invitation_too_many_is_refused_in_the_form(
    owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 0)
    assert "Revoke some first." in text_of(owner.send("people/invite", **INVITED))


def test_forms_of_an_account_are_bounded(owner: Browser, settings: Settings) -> None:
    settings.ACTS_PER_MINUTE = 1
    owner.send("people/invite", **INVITED)
    refused = owner.send("people/invite", **INVITED)
    assert (refused.status_code, "Retry-After" in refused) == (429, True)
    assert "Too many tries" in text_of(refused)
    assert Invitation.objects.count() == 1
    assert owner.get("people").status_code == 200


def test_a_suspended_account_is_looked_at_and_not_changed(owner: Browser) -> None:
    accounts.suspend(account_id=owner.account.pk)
    assert "This account is suspended." in text_of(owner.send("people/invite", **INVITED))
    assert not Invitation.objects.exists()
    assert "This account is suspended." in owner.shown("people")


def test_a_revoked_invitation_lets_nobody_in(owner: Browser) -> None:
    issued = invitations.create(account_id=owner.account.pk, invited_by="ada", **INVITED)
    owner.send(f"people/invitations/{issued.invitation.pk}/revoke")
    with pytest.raises(invitations.InvalidInvitation):
        invitations.find(token=issued.token)
    assert owner.send(f"people/invitations/{issued.invitation.pk}/revoke").status_code == 404


def test_another_role_holds_from_the_next_request_on(owner: Browser) -> None:
    person = browser(owner.account, Role.MEMBER)
    assert person.get("people").status_code == 403
    mine = memberships.find(user_id=person.user.pk, account_id=owner.account.pk)
    owner.send(f"people/{mine.pk}/role", role="owner")
    assert person.get("people").status_code == 200
    owner.send(f"people/{mine.pk}/role", role="admiral")
    assert "The role must be one of" in owner.shown("people")
    assert Membership.objects.get(pk=mine.pk).role == Role.OWNER


def test_a_person_is_taken_out_after_a_question_and_at_the_next_request(owner: Browser) -> None:
    person = browser(owner.account, Role.OWNER)
    theirs = memberships.find(user_id=person.user.pk, account_id=owner.account.pk)
    assert "API keys stay valid" in owner.shown(f"people/{theirs.pk}/remove")
    assert person.get("people").status_code == 200
    owner.send(f"people/{theirs.pk}/remove")
    assert person.get("people").status_code == 404
    assert person.user.username not in owner.shown("people").partition("was removed from the account.")[2]


def test_the_last_owner_stays_an_owner(owner: Browser) -> None:
    mine = memberships.find(user_id=owner.user.pk, account_id=owner.account.pk)
    place(owner.account)
    owner.send(f"people/{mine.pk}/role", role="viewer")
    assert "An account must keep an owner." in owner.shown("people")
    owner.send("leave")
    assert "An account must keep an owner." in owner.shown("people")
    assert Membership.objects.get(pk=mine.pk).role == Role.OWNER


@pytest.mark.parametrize("role", [Role.OWNER, Role.MEMBER, Role.VIEWER])
def test_anybody_else_may_leave(owner: Browser, role: str) -> None:
    person = browser(owner.account, role)
    assert f"Leave {owner.account.name}?" in person.shown("leave")
    assert person.send("leave")["Location"] == "/console/"
    assert person.get("leave").status_code == 404


def test_an_owner_who_takes_a_lower_role_is_led_away(owner: Browser) -> None:
    place(owner.account, Role.OWNER)
    mine = memberships.find(user_id=owner.user.pk, account_id=owner.account.pk)
    reply = owner.send(f"people/{mine.pk}/role", role="member")
    assert reply["Location"] == f"/console/{owner.account.pk}/"
    assert owner.get("people").status_code == 403


def test_people_of_another_account_are_out_of_reach(owner: Browser) -> None:
    other = factories.account()
    theirs = place(other)
    issued = invitations.create(account_id=other.pk, invited_by="ada", **INVITED)
    assert owner.send(f"people/{theirs.pk}/role", role="owner").status_code == 404
    assert owner.send(f"people/{theirs.pk}/remove").status_code == 404
    assert owner.send(f"people/invitations/{issued.invitation.pk}/revoke").status_code == 404
    assert Membership.objects.get(pk=theirs.pk).role == Role.MEMBER
    assert invitations.find(token=issued.token) == issued.invitation


@pytest.mark.parametrize("role", [Role.MEMBER, Role.VIEWER])
def test_only_owners_see_and_change_people(account: Account, role: str) -> None:
    person, other = browser(account, role), place(account)
    mine = memberships.find(user_id=person.user.pk, account_id=account.pk)
    assert person.get("people").status_code == 403
    assert person.send("people/invite", **INVITED).status_code == 403
    assert person.send(f"people/{mine.pk}/role", role="owner").status_code == 403
    assert person.send(f"people/{other.pk}/remove").status_code == 403


def test_two_owners_who_take_each_other_out_at_once_leave_one(
    owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = place(owner.account, Role.OWNER)
    mine = memberships.find(user_id=owner.user.pk, account_id=owner.account.pk)
    remove = memberships.remove

    def remove_late(**place: int) -> None:
        remove(membership_id=mine.pk, account_id=owner.account.pk)
        remove(**place)

    monkeypatch.setattr(memberships, "remove", remove_late)
    assert owner.send(f"people/{other.pk}/remove").status_code == 302
    assert list(memberships.list_of_account(account_id=owner.account.pk)) == [other]


@pytest.mark.parametrize(
    ("page", "status"), [("people/{}/remove", 404), ("people/{}/role", 404), ("leave", 302)]
)
def test_a_person_who_is_gone_meanwhile_is_no_error(
    owner: Browser, monkeypatch: pytest.MonkeyPatch, page: str, status: int
) -> None:
    other = place(owner.account)

    def fail(**_: object) -> None:
        raise Membership.DoesNotExist

    monkeypatch.setattr(memberships, "remove", fail)
    monkeypatch.setattr(memberships, "change_role", fail)
    assert owner.send(page.format(other.pk), role="viewer").status_code == status
