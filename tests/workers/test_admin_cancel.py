"""The page on which staff cancel a generation: with a reason, a permission of its own, and a line in the log."""

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from billing.models import Account
from tests import factories
from tests.billing.admin_client import browser_with, page
from tests.factories import NOW
from workers.lifecycle import cancellation
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
MAY = ("view_generation", "cancel_generation")


@pytest.fixture(autouse=True)
def no_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hints go nowhere."""
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)


def address(generation: Generation, page: str = "cancel") -> str:
    return f"/admin/workers/generation/{generation.pk}/{page}/"


def cancel(browser: Client, generation: Generation, reason: str = "asked by mail") -> str:
    reply = browser.post(address(generation), {"reason": reason}, follow=True)
    assert reply.status_code == 200
    return reply.content.decode()


def test_a_queued_generation_is_cancelled_with_the_reason_and_the_name() -> None:
    queued = factories.submit(factories.account())
    browser = browser_with(*MAY)
    assert f'href="{address(queued)}"' in page(browser, address(queued, "change"))
    assert f"Generation {queued.pk} is cancelled. Nothing is charged." in cancel(browser, queued)
    row = Generation.objects.get()
    assert (row.status, row.error_type) == (Status.CANCELLED, "generation_cancelled")
    assert row.error_detail == "cancelled by bob: asked by mail"
    assert Account.objects.get().reserved_micros == 0
    entry = LogEntry.objects.get()
    assert (entry.user.get_username(), entry.object_id) == ("bob", str(queued.pk))
    assert entry.get_change_message() == "cancelled by bob: asked by mail"
    assert f'href="{address(queued)}"' not in page(browser, address(queued, "change"))


def test_the_worker_of_a_running_generation_is_asked_to_drop_it() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    shown = cancel(browser_with(*MAY), running)
    assert f"Generation {running.pk} runs. Its worker cancels it within seconds" in shown
    assert Generation.objects.get().cancel_requested_at is not None
    assert cancellation.end_requested(generation=running, now=NOW)
    row = Generation.objects.get()
    assert (row.status, row.error_detail) == (Status.CANCELLED, "cancelled by bob: asked by mail")
    assert Account.objects.get().reserved_micros == 0


@pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED, Status.CANCELLED])
def test_an_ended_generation_says_so_and_stays(status: Status) -> None:
    ended = factories.generation_in(status, factories.account())
    browser = browser_with(*MAY)
    assert f'href="{address(ended)}"' not in page(browser, address(ended, "change"))
    assert f"Generation {ended.pk} has already ended: {status}." in cancel(browser, ended)
    assert Generation.objects.get() == ended
    assert Generation.objects.get().error_detail == ended.error_detail
    assert not LogEntry.objects.exists()


def test_a_second_cancellation_changes_nothing() -> None:
    running = factories.generation_in(Status.RUNNING, factories.account())
    browser = browser_with(*MAY)
    cancel(browser, running)
    assert f"Generation {running.pk} is being cancelled already." in cancel(browser, running, "again")
    assert Generation.objects.get().error_detail == "cancelled by bob: asked by mail"
    assert LogEntry.objects.count() == 1
    assert f'href="{address(running)}"' not in page(browser, address(running, "change"))


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "a\0b"])
def test_without_a_reason_nothing_is_cancelled(reason: str) -> None:
    queued = factories.submit(factories.account())
    assert "errorlist" in cancel(browser_with(*MAY), queued, reason)
    assert Generation.objects.get().status == Status.QUEUED


def test_to_look_at_the_page_cancels_nothing() -> None:
    queued = factories.submit(factories.account())
    shown = page(browser_with(*MAY), address(queued))
    assert "The queued generation of account" in shown
    assert Generation.objects.get().status == Status.QUEUED


def test_an_unknown_generation_is_not_found() -> None:
    page(browser_with(*MAY), "/admin/workers/generation/999/cancel/", status=404)


@pytest.mark.parametrize(
    "permissions", [(), ("view_generation",), ("cancel_generation",), ("change_generation",)]
)
def test_staff_without_both_permissions_cancel_nothing(permissions: tuple[str, ...]) -> None:
    queued = factories.submit(factories.account())
    browser = browser_with(*permissions)
    assert browser.post(address(queued), {"reason": "x"}).status_code == 403
    page(browser, address(queued), status=403)
    if "view_generation" in permissions:
        assert f'href="{address(queued)}"' not in page(browser, address(queued, "change"))
    assert Client().post(address(queued), {"reason": "x"}).status_code == 302
    assert Generation.objects.get().status == Status.QUEUED


def test_a_reason_is_text_and_no_markup() -> None:
    queued = factories.submit(factories.account())
    assert "<i>mail" not in cancel(browser_with(*MAY), queued, "<i>mail")


def test_a_form_of_another_site_cancels_nothing() -> None:
    queued = factories.submit(factories.account())
    browser = browser_with(*MAY)
    browser.handler.enforce_csrf_checks = True
    assert browser.post(address(queued), {"reason": "x"}).status_code == 403
    assert Generation.objects.get().status == Status.QUEUED
