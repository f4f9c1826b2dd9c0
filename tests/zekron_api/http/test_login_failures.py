"""The count of failed logins: exact under guesses at once, for all processes, and for a quarter of an hour."""

import pytest
from django.core.cache import cache
from pytest_django import Settings

from tests import factories
from zekron_api.http import login_failures
from zekron_api.http.login_failures import LockedOut

pytestmark = pytest.mark.django_db(transaction=True)
PAIR = {"address": "192.0.2.1", "name": "ada"}


def begin(_: int) -> bool:
    try:
        login_failures.begin(**PAIR)
    except LockedOut:
        return False
    return True


def test_of_many_guesses_at_once_only_five_are_looked_at() -> None:
    assert factories.at_once(12, begin).count(True) == 5
    assert login_failures.is_locked_out(**PAIR)


def test_a_lockout_lasts_from_the_last_failure_on(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    kept: list[float] = []
    keep = cache.set

    def note(key: str, value: object, timeout: float) -> None:
        kept.append(timeout)
        keep(key, value, timeout)

    monkeypatch.setattr(cache, "set", note)
    assert [begin(0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert kept == [900.0] * 5


def test_without_redis_failures_count_all_the_same(settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert [begin(0) for _ in range(6)] == [True] * 5 + [False]
