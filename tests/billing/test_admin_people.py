"""The people of an account in the admin, and the command that invites without it."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.core import mail
from django.core.management import CommandError, call_command
from django.test import Client
from pytest_django import Settings

from billing import invitations, memberships
from billing.membership_models import Invitation
from billing.models import Account
from tests.billing.admin_client import ACCOUNTS, browser_with, page

pytestmark = pytest.mark.django_db
EVE = {"email": "eve@example.com", "role": "owner"}


def path_of(account: Account) -> str:
    return f"{ACCOUNTS}{account.pk}/invite/"


def token_in(text: str) -> str:
    found = re.search(r"http://localhost:8000/invitations/([\w-]{43})\b", text)
    assert found is not None
    return found[1]


def test_an_address_that_is_too_long_is_refused_in_the_form(staff: Client, account: Account) -> None:
    reply = staff.post(path_of(account), EVE | {"email": f"{'e' * 250}@example.com"})
    assert "at most 254 characters" in reply.content.decode()
    assert not Invitation.objects.exists()


def test_the_link_is_shown_once_and_works(staff: Client, account: Account) -> None:
    reply = staff.post(path_of(account), EVE)
    token = token_in(reply.content.decode())
    invitation = invitations.find(token=token)
    assert (invitation.email, invitation.role, invitation.invited_by) == ("eve@example.com", "owner", "ada")
    assert "no-store" in reply["Cache-Control"]
    assert token not in page(staff, f"{ACCOUNTS}{account.pk}/change/")
    assert LogEntry.objects.get().get_change_message() == "Invited eve@example.com as owner."


def test_the_page_of_an_account_shows_its_people_and_who_is_invited(staff: Client, account: Account) -> None:
    assert "Nobody has joined this account" in page(staff, f"{ACCOUNTS}{account.pk}/change/")
    staff.post(path_of(account), EVE)
    bob = User.objects.create_user("bob", email="bob@example.com")
    memberships.add(user_id=bob.pk, account_id=account.pk, role="viewer")
    shown = page(staff, f"{ACCOUNTS}{account.pk}/change/")
    assert all(text in shown for text in ("bob@example.com", "Viewer", "eve@example.com", "Owner"))
    assert "Nobody has joined" not in shown


def test_inviting_needs_the_permission_to_change_accounts(account: Account) -> None:
    clerk = browser_with("view_account")
    assert clerk.post(path_of(account), EVE).status_code == 403
    assert "Invite</a>" not in page(clerk, f"{ACCOUNTS}{account.pk}/change/")
    assert not Invitation.objects.exists()


def test_a_wrong_address_comes_back_as_typed(staff: Client, account: Account) -> None:
    reply = staff.post(path_of(account), EVE | {"email": "eve"})
    assert 'value="eve"' in reply.content.decode()
    assert "valid email" in reply.content.decode()
    assert not Invitation.objects.exists()


def test_too_many_invitations_are_refused_in_words(
    staff: Client, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "MAX_OPEN", 1)
    staff.post(path_of(account), EVE)
    assert "At most 1 invitations may be open" in staff.post(path_of(account), EVE).content.decode()


def test_a_link_is_mailed_where_mail_is_sent(staff: Client, account: Account, settings: Settings) -> None:
    staff.post(path_of(account), EVE)
    assert mail.outbox == []
    settings.SENDS_MAIL = True
    token = token_in(staff.post(path_of(account), EVE).content.decode())
    [sent] = mail.outbox
    assert (sent.to, sent.subject) == (["eve@example.com"], "Invitation to demo")
    assert token_in(str(sent.body)) == token


def test_a_mail_server_that_is_away_loses_no_link(
    staff: Client, account: Account, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SENDS_MAIL = True

    def refuse(*_: object, **__: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("billing.invitation_links.send_mail", refuse)
    shown = staff.post(path_of(account), EVE).content.decode()
    assert token_in(shown)
    assert "mailed" not in shown


def test_the_command_prints_the_link_alone(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("invite", "demo", "eve@example.com")
    line = capsys.readouterr().out
    assert re.fullmatch(r"http://localhost:8000/invitations/[\w-]{43}\n", line)
    invitation = invitations.find(token=token_in(line))
    assert invitation.role == "owner"
    assert invitation.invited_by.startswith("manage.py invite by ")


def test_the_command_makes_the_second_person_a_member(account: Account) -> None:
    bob = User.objects.create_user("bob")
    memberships.add(user_id=bob.pk, account_id=account.pk, role="owner")
    call_command("invite", str(account.pk), "eve@example.com")
    call_command("invite", str(account.pk), "eve@example.com", role="viewer")
    assert list(Invitation.objects.order_by("pk").values_list("role", flat=True)) == ["member", "viewer"]


@pytest.mark.parametrize(
    ("name", "email", "message"),
    [
        ("nothing", "eve@example.com", "Account 'nothing' does not exist"),
        ("demo", "eve", "'eve' is no e-mail address"),
        ("demo", f"{'e' * 250}@example.com", "at most 254 characters"),
    ],
)
def test_the_command_names_what_is_wrong(account: Account, name: str, email: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        call_command("invite", name, email)
