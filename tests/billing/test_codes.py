"""Redemption codes: made once, redeemed once, and credited exactly when they are redeemed."""

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone
from pytest_django import Settings

from billing import audit, codes, ledger
from billing.income_models import RedemptionCode
from billing.models import Account, LedgerEntry
from tests import factories
from tests.billing.tampering import tamper
from tests.database import start_elsewhere

pytestmark = pytest.mark.django_db
NEW = "a new secret key of the service, which is long enough for it"


def make(**changes: Any) -> tuple[RedemptionCode, str]:
    """Make one code of 25 dollars."""
    fields: dict[str, Any] = {
        "amount_micros": 25_000_000,
        "count": 1,
        "expires_at": timezone.now() + timedelta(days=1),
        "actor": "ada",
        "reason": "sold at the fair",
    }
    [made] = codes.create(**{**fields, **changes})
    return made


def expire(code: RedemptionCode) -> None:
    RedemptionCode.objects.filter(pk=code.pk).update(expires_at=Now())


def test_a_code_has_150_random_bits_in_readable_groups_and_only_its_digest_is_kept() -> None:
    assert len(set(codes.ALPHABET)) == 32
    assert not set("ILOU") & set(codes.ALPHABET)
    made = codes.create(
        amount_micros=100, count=50, expires_at=timezone.now() + timedelta(days=1), actor="a", reason="r"
    )
    texts = {text for _, text in made}
    assert len(texts) == 50
    assert all(
        re.fullmatch(f"[{codes.ALPHABET}]{{5}}(-[{codes.ALPHABET}]{{5}}){{5}}", text) for text in texts
    )
    assert {character for text in texts for character in text} == {*codes.ALPHABET, "-"}
    kept = str(list(RedemptionCode.objects.values()))
    assert not any(text in kept or text.replace("-", "") in kept for text in texts)


def test_a_code_is_credited_once_to_the_account_that_redeems_it(account: Account) -> None:
    code, text = make()
    redeemed = codes.redeem(account_id=account.pk, text=text)
    entry = LedgerEntry.objects.latest("pk")
    assert (redeemed.code.pk, redeemed.account.balance_micros, redeemed.is_replay) == (
        code.pk,
        35_000_000,
        False,
    )
    assert (entry.kind, entry.amount_micros, entry.request_id) == ("credit", 25_000_000, code.credit_id)
    assert (entry.actor, entry.reason) == (codes.ACTOR, f"code {code.pk} (…{text[-4:]})")
    assert list(audit.audit()) == []


def test_a_second_redemption_by_the_same_account_credits_nothing_and_tells_the_first(
    account: Account,
) -> None:
    code, text = make()
    codes.redeem(account_id=account.pk, text=text)
    expire(code)
    again = codes.redeem(account_id=account.pk, text=text)
    assert (again.code.pk, again.account.balance_micros, again.is_replay) == (code.pk, 35_000_000, True)


def _with_dashes(dash: str, text: str) -> str:
    return text.replace("-", dash)


@pytest.mark.parametrize(
    "spelled",
    [
        str.lower,
        lambda text: text.replace("-", " "),
        lambda text: f" {text} ",
        lambda text: f"\t{text}\r\n",
        # What a mail, a page or a word processor makes of a code.
        *(partial(_with_dashes, dash) for dash in "\xa0\xad\u2009\u200b\u2010\u2011\u2013\u2014\u2212\u2060"),
        lambda text: f"\ufeff{text}\u2028",
    ],
)
def test_a_code_is_read_however_it_is_written(account: Account, spelled: Any) -> None:
    _, text = make()
    assert codes.redeem(account_id=account.pk, text=spelled(text)).account.balance_micros == 35_000_000


def test_letters_that_look_like_digits_are_read_as_digits() -> None:
    assert codes.digest("OoIi-Ll") == codes.digest("001111")
    assert codes.digest("OOO") != codes.digest("000 1")
    # A letter that only resembles one is another one.
    assert codes.digest("\N{CYRILLIC CAPITAL LETTER A}") != codes.digest("A")


def test_a_code_that_is_unknown_expired_revoked_or_taken_is_refused_alike(account: Account) -> None:
    taken, revoked, expired = make(), make(), make()
    codes.redeem(account_id=factories.account().pk, text=taken[1])
    codes.revoke(code_id=revoked[0].pk)
    expire(expired[0])
    said = set()
    for text in (taken[1], revoked[1], expired[1], "0" * 30, "", "\0", "\ud800", "x" * 10**6):
        with pytest.raises(codes.InvalidCode) as refused:
            codes.redeem(account_id=account.pk, text=text)
        said.add(str(refused.value))
    assert said == {codes.INVALID}
    account.refresh_from_db()
    assert account.balance_micros == 10_000_000
    assert list(audit.audit()) == []


def test_a_code_is_revoked_once_and_never_after_its_redemption(account: Account) -> None:
    code, text = make()
    codes.revoke(code_id=code.pk)
    with pytest.raises(codes.NotRevocable, match="already revoked"):
        codes.revoke(code_id=code.pk)
    code, text = make()
    codes.redeem(account_id=account.pk, text=text)
    with pytest.raises(codes.NotRevocable, match="already redeemed"):
        codes.revoke(code_id=code.pk)
    with pytest.raises(RedemptionCode.DoesNotExist):
        codes.revoke(code_id=0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"amount_micros": 0}, "positive"),
        ({"amount_micros": 150}, "multiple"),
        ({"count": 0}, "count"),
        ({"count": codes.MAX_COUNT + 1}, "count"),
        ({"expires_at": timezone.now() - timedelta(seconds=1)}, "expiry"),
        ({"expires_at": timezone.now() + timedelta(days=9999)}, "expiry"),
        ({"actor": " "}, "blank"),
        ({"reason": "\n"}, "blank"),
    ],
)
def test_codes_that_make_no_sense_are_not_made(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(**changes)
    assert not RedemptionCode.objects.exists()


def test_a_code_survives_a_change_of_the_secret_key_as_long_as_the_former_one_is_named(
    account: Account, settings: Settings
) -> None:
    _, text = make()
    _, lost = make()
    assert codes.count_by_secret_key() == [2, 0]
    former, settings.SECRET_KEY = settings.SECRET_KEY, NEW
    settings.SECRET_KEY_FALLBACKS = [former]
    assert codes.count_by_secret_key() == [0, 2, 0]
    assert codes.redeem(account_id=account.pk, text=text).account.balance_micros == 35_000_000
    settings.SECRET_KEY_FALLBACKS = []
    assert codes.count_by_secret_key() == [0, 1]
    with pytest.raises(codes.InvalidCode):
        codes.redeem(account_id=account.pk, text=lost)


def test_a_code_whose_credit_fails_stays_unredeemed(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, text = make()

    def fail(**_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as broken:
        broken.setattr(ledger, "top_up", fail)
        with pytest.raises(RuntimeError):
            codes.redeem(account_id=account.pk, text=text)
    code.refresh_from_db()
    assert code.redeemed_at is None
    assert codes.redeem(account_id=account.pk, text=text).account.balance_micros == 35_000_000


@pytest.mark.django_db(transaction=True)
def test_64_threads_with_one_code_are_one_credit() -> None:
    owners = [factories.account(balance_micros=0) for _ in range(2)]
    code, text = make()
    outcomes = factories.at_once(
        64, lambda index: codes.redeem(account_id=owners[index % 2].pk, text=text).is_replay
    )
    winner = RedemptionCode.objects.get().redeemed_by_id
    assert outcomes.count(False) == 1
    assert outcomes.count(True) == 31
    assert sum(isinstance(outcome, codes.InvalidCode) for outcome in outcomes) == 32
    for owner in owners:
        owner.refresh_from_db()
        assert owner.balance_micros == (25_000_000 if owner.pk == winner else 0)
    assert LedgerEntry.objects.filter(request_id=code.credit_id).count() == 1
    assert list(audit.audit()) == []


@pytest.mark.django_db(transaction=True)
def test_a_revocation_waits_for_a_redemption_and_finds_it_done(account: Account) -> None:
    code, text = make()
    with transaction.atomic():
        codes.redeem(account_id=account.pk, text=text)
        revoked = start_elsewhere(partial(codes.revoke, code_id=code.pk))
        assert not revoked.done()
    assert isinstance(revoked.exception(), codes.NotRevocable)


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("amount_micros = 0", "code_amount"),
        ("amount_micros = 150", "code_amount"),
        ("redeemed_at = now()", "code_end"),
        ("redeemed_by_id = (SELECT min(id) FROM billing_account)", "code_end"),
        (
            "redeemed_by_id = (SELECT min(id) FROM billing_account), redeemed_at = now(), revoked_at = now()",
            "code_end",
        ),
        ("reason = ' '", "code_actor_and_reason"),
        ("created_by = ''", "code_actor_and_reason"),
    ],
)
def test_the_database_refuses_a_code_that_cannot_be(account: Account, change: str, constraint: str) -> None:
    make()
    with (
        pytest.raises(IntegrityError, match=f'"{constraint}"'),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(f"UPDATE billing_redemptioncode SET {change}")  # noqa: S608


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "UPDATE billing_redemptioncode SET redeemed_at = NULL, redeemed_by_id = NULL",
            "was not redeemed and has the entry id",
        ),
        ("UPDATE billing_redemptioncode SET amount_micros = 100", "(100 micros) was redeemed by account"),
        ("UPDATE billing_redemptioncode SET credit_id = gen_random_uuid()", "has no such credit"),
        ("DELETE FROM billing_redemptioncode", "credits a redemption code, which does not exist"),
        ("UPDATE billing_ledgerentry SET request_id = NULL", "has no such credit"),
        ("UPDATE billing_ledgerentry SET actor = 'ada' WHERE sequence = 2", "has no such credit"),
        (
            "UPDATE billing_redemptioncode SET redeemed_by_id = (SELECT max(id) FROM billing_account)",
            "has no such credit",
        ),
    ],
)
def test_the_audit_finds_a_code_without_its_credit_and_a_credit_without_its_code(
    account: Account, statement: str, said: str
) -> None:
    factories.account()
    codes.redeem(account_id=account.pk, text=make()[1])
    assert list(audit.audit()) == []
    tamper(statement)
    assert any(said in problem for problem in audit.audit()), list(audit.audit())


def test_the_audit_finds_a_missing_constraint_of_codes() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_redemptioncode DROP CONSTRAINT code_end")
    assert list(audit.audit()) == [
        "the constraint code_end of billing_redemptioncode is missing or not valid"
    ]
