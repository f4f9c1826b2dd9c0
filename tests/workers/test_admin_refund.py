"""Refunds of generations by staff: on a page with a permission of its own, or by a command."""

import io

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import CommandError, call_command
from django.test import Client

from billing.models import Account, LedgerEntry
from tests import factories
from tests.billing.admin_client import browser_with, page
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
MAY = ("view_generation", "refund_generation")


@pytest.fixture
def made() -> Generation:
    """Return a completed generation of a new account."""
    return factories.generation_in(Status.COMPLETED, factories.account())


def address(generation: Generation, page: str = "refund") -> str:
    return f"/admin/workers/generation/{generation.pk}/{page}/"


def refund(browser: Client, generation: Generation) -> str:
    reply = browser.post(address(generation), {"reason": "six fingers"}, follow=True)
    assert reply.status_code == 200
    return reply.content.decode()


def test_a_completed_generation_is_refunded_with_reason_and_name(made: Generation) -> None:
    browser = browser_with(*MAY)
    assert f'href="{address(made)}"' in page(browser, address(made, "change"))
    assert "0.0267 USD, the cost of this generation" in page(browser, address(made))
    assert "0.0267 USD are back on account" in refund(browser, made)
    assert Account.objects.get().balance_micros == 10_000_000
    assert LedgerEntry.objects.latest("id").actor == "bob"
    assert LogEntry.objects.get().get_change_message() == "Refunded 0.0267 USD: six fingers"
    shown = page(browser, address(made, "change"))
    assert f'href="{address(made)}"' not in shown
    assert "UTC by bob" in shown


def test_a_second_refund_says_so_and_moves_nothing(made: Generation) -> None:
    browser = browser_with(*MAY)
    refund(browser, made)
    assert "No money was moved this time" in refund(browser, made)
    assert Account.objects.get().balance_micros == 10_000_000
    assert LogEntry.objects.count() == 1


def test_an_open_generation_has_no_link_and_is_not_refunded() -> None:
    queued = factories.submit(factories.account())
    browser = browser_with(*MAY)
    assert f'href="{address(queued)}"' not in page(browser, address(queued, "change"))
    assert "is queued and was not charged" in refund(browser, queued)


@pytest.mark.parametrize("permissions", [("view_generation", "cancel_generation"), ("refund_generation",)])
def test_without_both_permissions_nothing_is_refunded(made: Generation, permissions: tuple[str, ...]) -> None:
    browser = browser_with(*permissions)
    assert browser.post(address(made), {"reason": "six fingers"}).status_code == 403
    assert Account.objects.get().balance_micros < 10_000_000


def test_a_blank_reason_is_asked_for_again(made: Generation) -> None:
    assert "This field is required." in browser_with(*MAY).post(address(made), {}).content.decode()
    assert not LogEntry.objects.exists()


def test_the_command_refunds_once(made: Generation) -> None:
    out = io.StringIO()
    call_command("refund_generation", str(made.pk), "--reason", "six fingers", stdout=out)
    assert out.getvalue().endswith("balance 10.0000\n")
    assert LedgerEntry.objects.latest("id").actor.startswith("manage.py refund_generation by ")
    with pytest.raises(CommandError, match="No money was moved this time"):
        call_command("refund_generation", str(made.pk), "--reason", "again")
    with pytest.raises(CommandError, match=r"^There is no generation 999\.$"):
        call_command("refund_generation", "999", "--reason", "six fingers")
