"""The staff's pages: each list opens without an error, and the first one fits a phone."""

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from playwright.sync_api import Page

from tests import factories
from tests.browser.accessibility import assert_fits_everybody
from workers.models import Status

PASSWORD = "correct horse battery staple"


@pytest.fixture
def staff(page: Page, site: str) -> Page:
    """Log a superuser in by the form."""
    User.objects.create_superuser("ada", password=PASSWORD)
    page.goto(f"{site}/admin/")
    page.get_by_label("Email or user name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/admin/")
    return page


def test_every_list_opens(staff: Page, site: str) -> None:
    factories.generation_in(Status.COMPLETED, factories.account())
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist"
        reply = staff.goto(site + reverse(name))
        assert reply is not None
        assert reply.status == 200, name


def test_the_first_page_shows_the_service_and_fits_a_phone(staff: Page) -> None:
    assert staff.get_by_role("heading", name="Now").is_visible()
    assert_fits_everybody(staff)


def test_a_generation_is_refunded(staff: Page, site: str) -> None:
    made = factories.generation_in(Status.COMPLETED, factories.account())
    staff.goto(f"{site}/admin/workers/generation/{made.pk}/change/")
    staff.get_by_role("link", name="Refund", exact=True).click()
    staff.get_by_label("Reason").fill("six fingers")
    staff.get_by_role("button").last.click()
    staff.wait_for_url("**/change/")
    assert staff.get_by_text("0.0267 USD are back on account").is_visible()
