"""An account's own limits hold for its money, its requests and the headers that tell them."""

from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.test import Client
from pytest_django import Settings

from billing import holds, keys, limits
from billing.models import Account, Reservation
from tests import movements
from tests.billing.admin_client import ACCOUNTS, browser_with, page

pytestmark = pytest.mark.django_db
PUBLISHED = (60, 5, 100)


def set_limits(account: Account, **own: int | None) -> None:
    """Set these limits, and the published ones for the others."""
    nothing = {"requests_per_minute": None, "open_limit": None, "queue_limit": None}
    limits.set_limits(account_id=account.pk, **(nothing | own))


def test_a_limit_that_is_not_named_stays(account: Account) -> None:
    set_limits(account, requests_per_minute=600, queue_limit=7)
    limits.set_limits(account_id=account.pk, open_limit=2)
    assert read(account) == (600, 2, 7)
    limits.set_limits(account_id=account.pk, queue_limit=None)
    assert read(account) == (600, 2, 100)


def read(account: Account) -> tuple[int, ...]:
    """Return the limits that hold for the account, as the database has it."""
    return tuple(limits.limits_of(Account.objects.get(pk=account.pk)))


def count_holds(account: Account, *, is_async: bool, open_limit: int) -> int:
    """Return how many holds are made until one more is too many."""
    with pytest.raises(holds.TooManyHolds) as refusal:
        _hold_many(account, is_async=is_async, open_limit=open_limit)
    count = Reservation.objects.filter(account=account).count()
    assert refusal.value.limit == count
    return count


def _hold_many(account: Account, **given: Any) -> None:
    for _ in range(20):
        movements.hold(account_id=account.pk, quote_micros=100, **given)


def test_an_account_has_the_published_limits_until_it_has_its_own(account: Account) -> None:
    assert read(account) == PUBLISHED
    set_limits(account, requests_per_minute=600, open_limit=20, queue_limit=7)
    assert read(account) == (600, 20, 7)
    set_limits(account, open_limit=1)
    assert read(account) == (60, 1, 100)


@pytest.mark.parametrize(
    ("own", "expected"), [({}, 3), ({"open_limit": 2}, 2), ({"open_limit": 6}, 6)], ids=str
)
def test_open_holds_are_bounded_by_the_accounts_own_limit(
    account: Account, own: dict[str, int], expected: int
) -> None:
    set_limits(account, queue_limit=9, **own)
    assert count_holds(account, is_async=False, open_limit=3) == expected


@pytest.mark.parametrize(
    ("own", "expected"), [({}, 3), ({"queue_limit": 2}, 2), ({"queue_limit": 6}, 6)], ids=str
)
def test_open_asynchronous_holds_are_bounded_by_their_own_limit(
    account: Account, own: dict[str, int], expected: int
) -> None:
    set_limits(account, open_limit=9, **own)
    assert count_holds(account, is_async=True, open_limit=3) == expected


def test_a_key_of_a_moment_ago_has_its_accounts_own_limits_and_a_change_is_seen_at_once(
    account: Account,
    django_capture_on_commit_callbacks: Any,
    django_assert_num_queries: Any,
) -> None:
    _, text = keys.issue(account_id=account.pk)
    with django_capture_on_commit_callbacks(execute=True):
        set_limits(account, requests_per_minute=7, open_limit=8, queue_limit=9)
    assert tuple(limits.limits_of(keys.identify(text=text).account)) == (7, 8, 9)
    with django_assert_num_queries(0):
        assert tuple(limits.limits_of(keys.identify(text=text).account)) == (7, 8, 9)
    with django_capture_on_commit_callbacks(execute=True):
        set_limits(account)
    assert tuple(limits.limits_of(keys.identify(text=text).account)) == PUBLISHED


@pytest.mark.parametrize("name", ["requests_per_minute", "open_limit", "queue_limit"])
@pytest.mark.parametrize("value", [0, -1, 100_001])
def test_a_limit_out_of_bounds_is_refused(account: Account, name: str, value: int) -> None:
    with pytest.raises(ValueError, match="must be from 1 to 100000"):
        set_limits(account, **{name: value})
    assert read(account) == PUBLISHED


@pytest.mark.parametrize("name", ["requests_per_minute", "open_limit", "queue_limit"])
def test_the_database_refuses_a_limit_that_lets_nothing_through(account: Account, name: str) -> None:
    with pytest.raises(IntegrityError, match="account_limits"):
        Account.objects.filter(pk=account.pk).update(**{name: 0})


def test_an_account_that_is_not_there_is_told() -> None:
    with pytest.raises(Account.DoesNotExist):
        limits.set_limits(account_id=999, requests_per_minute=1, open_limit=1, queue_limit=1)


def test_the_command_sets_limits_and_says_which_hold(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("set_limits", account.name, "--requests", "600", "--queued", "1000")
    assert capsys.readouterr().out == (
        f"account {account.pk} 'demo': 600 requests a minute, 5 open generations, 1000 asynchronous ones\n"
    )
    assert read(account) == (600, 5, 1000)
    for arguments, said in (
        (["nobody", "--open", "1"], "does not exist"),
        (["demo", "--open", "0"], "must be from 1"),
        (["demo", "--open", "many"], "invalid _read value"),
        (["demo"], "Name a limit: --requests, --open, --queued"),
    ):
        with pytest.raises(CommandError, match=said):
            call_command("set_limits", *arguments)
    assert read(account) == (600, 5, 1000)
    call_command("set_limits", "demo", "--open", "20", "--requests", "published")
    assert read(account) == (60, 20, 1000)


def test_staff_set_limits_on_a_page_that_shows_the_published_ones(
    staff: Client, account: Account, settings: Settings
) -> None:
    settings.REQUESTS_PER_MINUTE = 61
    address = f"{ACCOUNTS}{account.pk}/limits/"
    assert address in page(staff, f"{ACCOUNTS}{account.pk}/change/")
    assert 'placeholder="61"' in page(staff, address)
    staff.post(address, {"requests_per_minute": "600", "open_limit": "", "queue_limit": "7"})
    assert read(account) == (600, 5, 7)
    shown = page(staff, f"{ACCOUNTS}{account.pk}/change/")
    assert "600 requests a minute, 5 open generations, 7 asynchronous ones" in shown
    assert 'value="600"' in page(staff, address)
    refused = staff.post(address, {"requests_per_minute": "0", "open_limit": "", "queue_limit": ""})
    assert "greater than or equal to 1" in refused.content.decode()
    assert read(account) == (600, 5, 7)
    balance = Account.objects.get(pk=account.pk).balance_micros
    assert balance == account.balance_micros


def test_who_may_only_look_sets_no_limits(account: Account) -> None:
    browser = browser_with("view_account")
    address = f"{ACCOUNTS}{account.pk}/limits/"
    assert browser.get(address).status_code == 403
    assert browser.post(address, {"requests_per_minute": "600"}).status_code == 403
    assert read(account) == PUBLISHED
