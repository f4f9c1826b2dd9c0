"""Commands of operators: the output of each, and one clear line for bad input."""

import re
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from billing import codes, keys
from billing.income_models import RedemptionCode
from billing.management.actor import actor_of
from billing.models import Account, ApiKey, LedgerEntry

pytestmark = pytest.mark.django_db


def command(*words: str) -> tuple[str, str]:
    """Run the command, and return its standard output and its standard error."""
    out, err = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_create_account_prints_id_and_balance() -> None:
    out, err = command("create_account", "ada")
    account = Account.objects.get(name="ada")
    assert (out, err) == (f"account {account.pk} 'ada': balance 10.0000\n", "")
    assert LedgerEntry.objects.get().actor == actor_of("create_account")


def test_create_account_takes_another_starting_balance() -> None:
    assert "balance 0.5000" in command("create_account", "ada", "--balance", "0.5")[0]
    assert "balance 0.0000" in command("create_account", "bob", "--balance", "0")[0]


def test_create_key_prints_the_key_alone_on_standard_output(account: Account) -> None:
    out, err = command("create_key", "demo", "--name", "laptop")
    assert re.fullmatch(r"zk_live_[0-9A-Za-z]{46}\n", out)
    assert keys.authenticate(text=out.strip()).account == account
    assert out.strip() not in err
    assert "only once" in err
    assert ApiKey.objects.get().name == "laptop"


def test_create_key_takes_the_accounts_id(account: Account) -> None:
    assert keys.authenticate(text=command("create_key", str(account.pk))[0].strip()).account == account


BOUNDS = (
    *("--scopes", "read,generate", "--expires", "2099-01-01", "--allow-ips", "192.0.2.0/24,2001:db8::/32"),
    *("--models", "zekron-image-1", "--requests", "7", "--open", "2", "--spend", "25.00/day"),
)
GRANTED = (
    "generate, read; until 2099-01-01 00:00 UTC; from 192.0.2.0/24, 2001:db8::/32; with zekron-image-1; "
    "7 requests a minute; 2 open generations; 25.0000 USD/day"
)


def test_create_key_and_change_key_say_what_a_key_grants(account: Account) -> None:
    _, err = command("create_key", "demo", *BOUNDS)
    key = ApiKey.objects.get()
    assert f"{GRANTED}. It is printed only once:" in err
    out, _ = command("change_key", str(key.pk), "--name", "shop", "--models", "none", "--expires", "none")
    assert out.endswith(
        "generate, read; from 192.0.2.0/24, 2001:db8::/32; 7 requests a minute; 2 open generations; 25.0000 USD/day\n"
    )
    free = ("--allow-ips", "none", "--requests", "none", "--open", "none", "--spend", "none")
    out, _ = command("change_key", key.prefix, "--scopes", "read", *free)
    assert out == f"key {key.pk} ({key}) of account {account.pk} 'demo': read\n"
    assert command("list_keys", "demo")[0] == f"{key.pk} {key} 'shop': live, spent 0.0000; read\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create_key", "demo", "--scopes", "admin"), "scopes must be among"),
        (("create_key", "demo", "--scopes", "none"), "scopes must"),
        (("create_key", "demo", "--spend", "25"), "The period of spend_limit must be one of"),
        (("create_key", "demo", "--spend", "x/day"), "--spend"),
        (("create_key", "demo", "--expires", "soon"), "--expires"),
        (("change_key", "7"), "This key does not exist."),
        (("rotate_key", "7"), "This key does not exist."),
        (("list_keys", "nobody"), "nobody"),
    ],
)
def test_a_wrong_option_of_a_key_is_one_line(account: Account, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        command(*words)
    assert not ApiKey.objects.exists()


def test_rotate_key_prints_the_new_key_alone_on_standard_output(account: Account) -> None:
    key, former = keys.issue(account_id=account.pk)
    out, err = command("rotate_key", former, "--overlap-hours", "0.5")
    assert re.fullmatch(r"zk_live_[0-9A-Za-z]{46}\n", out)
    assert out.strip() not in err
    assert keys.authenticate(text=out.strip()).id == keys.authenticate(text=former).id == key.pk
    for hours in ("-1", "169", "1e300"):
        with pytest.raises(CommandError):
            command("rotate_key", str(key.pk), "--overlap-hours", hours)
    with pytest.raises(CommandError, match="Name a change"):
        command("change_key", str(key.pk))
    keys.revoke(key_id=key.pk)
    for words in (("rotate_key", str(key.pk)), ("change_key", str(key.pk), "--name", "x")):
        with pytest.raises(CommandError, match="already revoked"):
            command(*words)


@pytest.mark.parametrize("form", ["id", "text", "prefix"])
def test_revoke_key_takes_id_text_and_prefix(account: Account, form: str) -> None:
    key, text = keys.issue(account_id=account.pk)
    out, _ = command("revoke_key", {"id": str(key.pk), "text": text, "prefix": key.prefix}[form])
    assert out == f"key {key.pk} ({key}) of account {account.pk} 'demo': revoked\n"
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)
    with pytest.raises(CommandError, match="already revoked"):
        command("revoke_key", str(key.pk))


def test_revoke_key_does_not_guess_between_keys(account: Account) -> None:
    for text in ("zk_live_same1", "zk_live_same2"):
        ApiKey.objects.create(account=account, digest=keys.digest(text), prefix="zk_live_same", last_four="")
    with pytest.raises(CommandError, match="Several keys"):
        command("revoke_key", "zk_live_same")
    assert not ApiKey.objects.filter(revoked_at__isnull=False).exists()


def test_top_up_prints_the_new_balance_and_keeps_the_reason(account: Account) -> None:
    out, _ = command("top_up", "demo", "5.50", "--reason", "invoice 7")
    assert out == f"account {account.pk} 'demo': balance 15.5000\n"
    entry = LedgerEntry.objects.get(sequence=2)
    assert (entry.actor, entry.reason) == (actor_of("top_up"), "invoice 7")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("create_account", "demo"), "An account named 'demo' already exists."),
        (("create_account", "42"), "must not be a number"),
        (("create_account", "eve", "--balance", "lots"), "'lots' is not an amount of US dollars"),
        (("create_account", "eve", "--balance=-1"), "'-1' is not an amount"),
        (("create_key", "nobody"), "Account 'nobody' does not exist."),
        (("create_key", "999999"), "Account '999999' does not exist."),
        (("revoke_key", "404404"), "This key does not exist."),
        (("revoke_key", "zk_live_unknown"), "This key does not exist."),
        (("top_up", "nobody", "1", "--reason", "r"), "Account 'nobody' does not exist."),
        (("top_up", "demo", "1.23456", "--reason", "r"), "not an amount"),
        (("top_up", "demo", "0", "--reason", "r"), "multiple of 100"),
        (("top_up", "demo", "1", "--reason", " "), "blank"),
        (("top_up", "demo", "1"), "--reason"),
        (("top_up", "demo", "1", "--reason", "x" * 501), "reason must have at most 500 characters"),
        (("top_up", "demo", "1", "--reason", "a\0b"), "none of them may be NUL"),
        (("create_codes", "1", "--reason", "x" * 501), "reason must have at most 500 characters"),
        (("create_codes", "1", "--reason", "a\0b"), "none of them may be NUL"),
        (("create_key", "demo", "--name", "x" * 101), "name must have at most 100 characters"),
        (("create_key", "demo", "--name", "a\0b"), "without NUL"),
    ],
)
def test_bad_input_is_refused_in_one_clear_line(account: Account, words: tuple[str, ...], why: str) -> None:
    with pytest.raises(CommandError, match=re.escape(why)) as caught:
        command(*words)
    assert "\n" not in str(caught.value)
    assert LedgerEntry.objects.count() == 1


def test_create_codes_prints_the_codes_alone_on_standard_output(account: Account) -> None:
    out, err = command("create_codes", "25.00", "--count", "3", "--days", "30", "--reason", "fair")
    texts = out.splitlines()
    first, *_, last = RedemptionCode.objects.order_by("pk")
    assert (len(texts), first.created_by, first.reason) == (3, actor_of("create_codes"), "fair")
    assert f"3 codes, ids {first.pk} to {last.pk}, valid until {first.expires_at:%Y-%m-%d}" in err
    assert not any(text in err for text in texts)
    assert [codes.redeem(account_id=account.pk, text=text).code.pk for text in texts] == [
        *range(first.pk, last.pk + 1)
    ]


@pytest.mark.parametrize(
    "words",
    [
        ("0", "--reason", "fair"),
        ("5", "--reason", " "),
        ("5", "--reason", "fair", "--count", "0"),
        ("5", "--reason", "fair", "--days", "0"),
        ("5", "--reason", "fair", "--days", "99999999999"),
        ("5", "--reason", "x" * 501),
    ],
)
def test_create_codes_refuses_what_makes_no_sense(words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        command("create_codes", *words)
    assert not RedemptionCode.objects.exists()
