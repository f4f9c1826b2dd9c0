"""The memory of keys in a process is short, bounded, and gone with each change of a key or an account."""

from collections.abc import Callable
from functools import partial

import pytest
from django.db import transaction

from billing import accounts, keys, recent_keys
from billing.grants import DEFAULT_GRANTS
from billing.models import Account
from billing.recent_keys import RecentKey, RecentKeys

KEY = RecentKey(3, 7, (None, None, None, 0), DEFAULT_GRANTS)


def _remember(known: RecentKeys, digest: str, *, seconds_left: float | None = None) -> None:
    reading = known.start_reading()
    known.remember(digest, key=KEY, seconds_left=seconds_left, reading=reading)


@pytest.mark.parametrize(
    ("seconds_left", "ends_at"), [(None, 5.0), (3.0, 3.0), (7.0, 5.0), (0.0, 0.0), (-1.0, 0.0)]
)
def test_a_key_is_known_for_five_seconds_or_until_it_expires(
    seconds_left: float | None, ends_at: float
) -> None:
    now = 0.0
    known = RecentKeys(clock=lambda: now)
    _remember(known, "a", seconds_left=seconds_left)
    for now in (0.0, 2.9, 3.0, 4.9, 5.0):
        assert known.find("a") == (KEY if now < ends_at else None), now


def test_the_time_counts_from_before_the_look_up() -> None:
    now = 0.0
    known = RecentKeys(clock=lambda: now)
    reading = known.start_reading()
    now = 4.0
    known.remember("slow", key=KEY, seconds_left=None, reading=reading)
    assert known.find("slow") == KEY
    now = 5.0
    assert known.find("slow") is None
    known.remember("slower", key=KEY, seconds_left=None, reading=reading)
    assert known.find("slower") is None


def test_a_look_up_that_began_before_a_change_is_not_kept() -> None:
    known = RecentKeys()
    _remember(known, "before")
    reading = known.start_reading()
    known.forget_all()
    known.remember("meanwhile", key=KEY, seconds_left=None, reading=reading)
    _remember(known, "after")
    assert [known.find(name) for name in ("before", "meanwhile", "after")] == [None, None, KEY]


def test_no_more_keys_are_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_keys, "MAX_KEYS", 3)
    known = RecentKeys()
    for name in "abcd":
        _remember(known, name)
    assert [known.find(name) for name in "abcd"] == [None, KEY, KEY, KEY]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["revoke", "suspend", "reinstate"])
def test_a_change_is_seen_by_this_process_from_its_commit_on(account: Account, change: str) -> None:
    other, _ = keys.issue(account_id=account.pk)
    key, text = keys.issue(account_id=account.pk)
    changes: dict[str, Callable[[], None]] = {
        "revoke": partial(keys.revoke, key_id=other.pk),
        "suspend": partial(accounts.suspend, account_id=account.pk),
        "reinstate": partial(accounts.reinstate, account_id=account.pk),
    }
    keys.identify(text=text)
    with transaction.atomic():
        changes[change]()
        assert recent_keys.recent_keys.find(keys.digest(text)) == RecentKey(
            key.pk, account.pk, (None, None, None, 0), DEFAULT_GRANTS
        )
    assert recent_keys.recent_keys.find(keys.digest(text)) is None
