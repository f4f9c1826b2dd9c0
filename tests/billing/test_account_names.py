"""No two accounts have names that look the same, and no name has what cannot be seen."""

import pytest
from django.core.management import call_command
from django.test import Client

from billing import account_names, accounts, ledger
from billing.models import Account
from tests.billing.admin_client import ACCOUNTS

pytestmark = pytest.mark.django_db
COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        (DECOMPOSED, COMPOSED),
        ("\uff24\uff45\uff4d\uff4f", "Demo"),
        ("\ufb01sh", "fish"),
        ("a\u00a0 b", "a b"),
        ("  a   b ", "a b"),
        ("\u72d0\u3000\u72d0", "\u72d0 \u72d0"),
        ("\U0001f98a", "\U0001f98a"),
    ],
)
def test_a_name_has_one_spelling(name: str, spelled: str) -> None:
    assert account_names.normalise(name) == spelled
    assert account_names.normalise(spelled) == spelled


@pytest.mark.parametrize(
    "character",
    [
        *("\u200b", "\u202e", "\u2066", "\n", "\x00", "\x1b", "\u2028", "\u00ad"),
        *("\ufeff", "\u3164", "\u2800", "\ue000", "\U000e0041"),
        *("\ufe0f", "\u034f", "\u17b4", "\u180b", "\U000e0100", "\U0001d159"),
    ],
    ids=lambda character: f"U+{ord(character):04X}",
)
def test_what_cannot_be_seen_is_refused_by_its_number(character: str) -> None:
    with pytest.raises(ValueError, match=rf"U\+{ord(character):04X}, which cannot be seen"):
        account_names.normalise(f"a{character}b")


@pytest.mark.parametrize(
    "name",
    ["", " \u00a0", "4\u00a02", "\uff14\uff12", "\u00b2", "\u0301", "1\u0301", "x" * 101, "\ufdfa" * 6],
)
def test_what_is_empty_a_number_or_too_long_once_it_is_spelled_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must have 1 to 100 characters"):
        account_names.normalise(name)


def test_a_second_account_that_looks_the_same_is_not_opened_and_either_spelling_finds_the_first() -> None:
    opened = ledger.open_account(name=DECOMPOSED, opening_micros=0, actor="test")
    with pytest.raises(ledger.NameTaken):
        ledger.open_account(name=COMPOSED, opening_micros=0, actor="test")
    for spelling in (COMPOSED, DECOMPOSED, f" {DECOMPOSED} "):
        assert accounts.find(text=spelling) == opened
    for unknown in ("cafe", "caf\u200be", ""):
        with pytest.raises(Account.DoesNotExist):
            accounts.find(text=unknown)


@pytest.mark.parametrize("stored", [DECOMPOSED, "caf\u00e9 ", " cafe\u0301", "caf\u00e9\u00a0"])
def test_an_account_of_an_older_spelling_is_found_and_keeps_its_name_to_itself(stored: str) -> None:
    older = Account.objects.create(name=stored)
    for text in (stored, COMPOSED, DECOMPOSED):
        assert accounts.find(text=text) == older
    with pytest.raises(ledger.NameTaken):
        ledger.open_account(name=COMPOSED, opening_micros=0, actor="test")


def test_accounts_of_an_older_release_that_look_alike_are_found_by_their_ids_alone() -> None:
    alike = [Account.objects.create(name=name) for name in ("Acme Corp", "Acme  Corp")]
    with pytest.raises(ValueError, match=r"look like 'Acme Corp'\. Give the id"):
        accounts.find(text="Acme Corp")
    for account in alike:
        assert accounts.find(text=str(account.pk)) == account


def test_an_account_with_an_invisible_character_is_found_by_its_own_name() -> None:
    older = Account.objects.create(name="caf\u200be")
    assert accounts.find(text="caf\u200be") == older


def test_the_admin_says_what_is_wrong_and_that_a_name_is_taken(staff: Client) -> None:
    call_command("create_account", COMPOSED)
    for name, said in ((DECOMPOSED, "already exists"), ("a\u202eb", "U+202E, which cannot be seen")):
        reply = staff.post(f"{ACCOUNTS}add/", {"name": name, "opening_micros": "1"})
        assert said in reply.content.decode()
    assert Account.objects.count() == 1
