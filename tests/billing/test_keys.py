"""A key is shown once, kept as a digest, and stops when it is revoked or has expired."""

import re
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from billing import accounts, keys, ledger, recent_keys
from billing.grants import DEFAULT_GRANTS, Grants
from billing.models import Account, ApiKey

pytestmark = pytest.mark.django_db
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A clock that a test sets, in seconds."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have the memory of keys, empty, follow a clock of the test."""
    clock = Clock()
    monkeypatch.setattr(keys, "recent_keys", recent_keys.RecentKeys(clock=clock))
    return clock


def from_base62(text: str) -> int:
    number = 0
    for character in text:
        number = number * 62 + keys.BASE62.index(character)
    return number


def test_a_key_has_its_shape_and_its_checksum(account: Account) -> None:
    key, text = keys.issue(account_id=account.pk, name=" laptop ")
    assert re.fullmatch(r"zk_live_[0-9A-Za-z]{46}", text)
    assert from_base62(text[-6:]) == zlib.crc32(text[:-6].encode())
    assert (key.prefix, key.last_four, key.name) == (text[:12], text[-4:], "laptop")
    assert str(key) == f"{text[:12]}…{text[-4:]}"


def test_the_checksum_has_leading_zeros() -> None:
    assert keys.checksum("") == "000000"
    assert keys.checksum("123456789") == "3jZRME"  # CRC32's check value, 0xCBF43926, in base62


def test_no_two_keys_are_alike(account: Account) -> None:
    assert len({keys.issue(account_id=account.pk)[1] for _ in range(50)}) == 50


def test_the_text_of_a_key_is_nowhere_in_its_row(account: Account) -> None:
    _, text = keys.issue(account_id=account.pk)
    [row] = ApiKey.objects.values()
    assert not any(text[12:-4] in str(value) for value in row.values())
    assert row["digest"] == keys.digest(text)


def test_the_digest_needs_the_pepper() -> None:
    with override_settings(SECRET_KEY="a" * 50):
        one = keys.digest("zk_live_x")
    with override_settings(SECRET_KEY="b" * 50):
        assert keys.digest("zk_live_x") != one


def test_the_digest_stays_what_it_is() -> None:
    # A change here would turn every issued key into an unknown one.
    with override_settings(SECRET_KEY="a fixed secret for this test alone"):
        assert (
            keys.digest("zk_live_golden")
            == "22bbe2487fb63f3b2e0ce301704b2326a01115668293c5704e87d641f3555a8f"
        )


def test_a_live_key_gives_its_account_by_one_query_and_its_first_use_is_noted_by_another(
    account: Account, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    key, text = keys.issue(account_id=account.pk)
    for query_count in (2, 1):
        with django_assert_num_queries(query_count):
            assert keys.authenticate(text=text) == (key.pk, account, DEFAULT_GRANTS)


def test_the_account_of_a_key_has_each_value_of_its_row(account: Account) -> None:
    _, text = keys.issue(account_id=account.pk)
    numbers = {"balance_micros": 900, "reserved_micros": 800, "spent_micros": 700, "settlement_count": 6}
    counts = {"hold_count": 5, "open_hold_count": 4, "entry_count": 3}
    Account.objects.filter(pk=account.pk).update(**numbers, **counts)
    found, row = keys.authenticate(text=text).account, Account.objects.filter(pk=account.pk).values().get()
    assert {name: getattr(found, name) for name in row} == row
    assert not found._state.adding


def test_a_suspended_account_is_given_as_it_is(account: Account) -> None:
    _, text = keys.issue(account_id=account.pk)
    accounts.suspend(account_id=account.pk)
    assert keys.authenticate(text=text).account.status == "suspended"


def test_unknown_revoked_and_expired_keys_end_alike(
    account: Account, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    revoked, revoked_text = keys.issue(account_id=account.pk)
    keys.revoke(key_id=revoked.pk)
    _, expired_text = keys.issue(account_id=account.pk, grants=Grants(expires_at=NOON))
    messages = set()
    for text in (
        revoked_text,
        expired_text,
        "zk_live_" + "0" * 46,
        "zk_",
        "zk_abc123",
        "zk_\ud800",
        "zk_schlüssel",
    ):
        with django_assert_num_queries(1), pytest.raises(keys.InvalidKey) as caught:
            keys.authenticate(text=text, now=NOON)
        messages.add(str(caught.value))
    assert len(messages) == 1


@pytest.mark.parametrize("position", [0, 4, 32, 63])
def test_a_key_whose_digest_differs_in_one_character_is_another_key(account: Account, position: int) -> None:
    key, text = keys.issue(account_id=account.pk)
    other = "0" if key.digest[position] != "0" else "1"
    ApiKey.objects.update(digest=key.digest[:position] + other + key.digest[position + 1 :])
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)
    with pytest.raises(ApiKey.DoesNotExist):
        keys.find(text=text)


@pytest.mark.parametrize("text", ["", "sk_live_abc", "ZK_live_abc", " zk_live_abc", "zk_" + "x" * 198])
def test_what_cannot_be_a_key_is_refused_without_a_query(
    text: str, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0), pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text)


def test_a_key_of_an_older_shape_is_looked_up_too(account: Account) -> None:
    ApiKey.objects.create(
        account=account, digest=keys.digest("zk_abc123"), prefix="zk_abc123", last_four="c123"
    )
    assert keys.authenticate(text="zk_abc123").account == account


def test_a_key_lives_until_the_moment_it_expires(account: Account) -> None:
    _, text = keys.issue(account_id=account.pk, grants=Grants(expires_at=NOON))
    assert keys.authenticate(text=text, now=NOON - timedelta(microseconds=1)).account == account
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=text, now=NOON)


def test_the_clock_is_the_databases_when_none_is_given(account: Account) -> None:
    _, over = keys.issue(account_id=account.pk, grants=Grants(expires_at=datetime(2020, 1, 1, tzinfo=UTC)))
    _, ahead = keys.issue(account_id=account.pk, grants=Grants(expires_at=datetime(2120, 1, 1, tzinfo=UTC)))
    assert keys.authenticate(text=ahead).account == account
    with pytest.raises(keys.InvalidKey):
        keys.authenticate(text=over)


def test_a_key_is_revoked_once_and_keeps_its_moment(account: Account) -> None:
    key, _ = keys.issue(account_id=account.pk)
    keys.revoke(key_id=key.pk, now=NOON)
    with pytest.raises(keys.AlreadyRevoked):
        keys.revoke(key_id=key.pk, now=NOON + timedelta(days=1))
    key.refresh_from_db()
    assert key.revoked_at == NOON


def test_revoking_a_key_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ApiKey.DoesNotExist):
        keys.revoke(key_id=404)


def test_revoking_one_key_leaves_the_others(account: Account) -> None:
    first, _ = keys.issue(account_id=account.pk)
    _, text = keys.issue(account_id=account.pk)
    keys.revoke(key_id=first.pk)
    assert keys.authenticate(text=text).account == account


def test_a_key_is_found_by_id_text_and_prefix(account: Account) -> None:
    key, text = keys.issue(account_id=account.pk)
    assert keys.find(text=str(key.pk)) == keys.find(text=text) == keys.find(text=text[:12]) == key
    with pytest.raises(ApiKey.DoesNotExist):
        keys.find(text=text[:11])


def test_a_key_is_looked_up_once_in_five_seconds(
    account: Account, clock: Clock, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    _, text = keys.issue(account_id=account.pk)
    for now, query_count in ((0.0, 2), (0.1, 0), (4.9, 0), (5.0, 1), (9.9, 0)):
        clock.now = now
        with django_assert_num_queries(query_count):
            found = keys.identify(text=text).account
            assert (found.pk, found.status) == (account.pk, "active")


def test_a_known_key_gives_amounts_as_they_are_now(account: Account, clock: Clock) -> None:
    _, text = keys.issue(account_id=account.pk)
    before = keys.identify(text=text).account.balance_micros
    ledger.top_up(account_id=account.pk, amount_micros=100, reason="more", actor="test")
    assert keys.identify(text=text).account.balance_micros == before + 100
    assert keys.authenticate(text=text).account.balance_micros == before + 100


def test_a_known_key_is_looked_up_again_when_it_expires(
    account: Account,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    django_assert_num_queries: DjangoAssertNumQueries,
) -> None:
    monkeypatch.setattr(recent_keys, "MAX_AGE_SECONDS", 1_000_000.0)
    _, text = keys.issue(account_id=account.pk, grants=Grants(expires_at=timezone.now() + timedelta(hours=1)))
    for now, query_count in ((0.0, 2), (1800.0, 0), (3600.0, 1)):
        clock.now = now
        with django_assert_num_queries(query_count):
            assert keys.identify(text=text).account == account


def test_a_key_that_opens_nothing_is_looked_up_each_time(
    account: Account, clock: Clock, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(2):
        with django_assert_num_queries(1), pytest.raises(keys.InvalidKey):
            keys.identify(text="zk_abc123")
    ApiKey.objects.create(
        account=account, digest=keys.digest("zk_abc123"), prefix="zk_abc123", last_four="c123"
    )
    accounts.suspend(account_id=account.pk)
    for query_count in (2, 1):
        with django_assert_num_queries(query_count):
            assert keys.identify(text="zk_abc123").account.status == "suspended"
    with django_assert_num_queries(0), pytest.raises(keys.InvalidKey):
        keys.identify(text="sk_abc123")
