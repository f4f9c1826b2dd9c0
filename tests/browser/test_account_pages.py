"""The pages of an account's owners: keys, webhooks and people, at three widths, in light and dark."""

from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from playwright.sync_api import BrowserContext, Page

from billing import invitations, keys
from billing.grants import Grants, Scope
from billing.membership_models import Role
from billing.models import Account
from tests import factories, processes
from tests.browser.accessibility import SCHEMES, assert_fits_everybody
from tests.browser.members import sign_in_member
from tests.workers.webhooks import made
from tests.zekron_api.console.people import member
from workers.webhook_models import DisabledReason, WebhookDelivery, WebhookEndpoint
from workers.webhooks import endpoints, events

PAGES = (
    *("keys", "keys/new", "keys/{key}", "keys/{key}/rotate", "keys/{key}/revoke"),
    *(
        "webhooks",
        "webhooks/new",
        "webhooks/{webhook}",
        "webhooks/{webhook}/edit",
        "webhooks/{webhook}/rotate",
    ),
    *("webhooks/{webhook}/recover", "webhooks/{webhook}/delete", "webhooks/default"),
    *("people", "people/invite", "people/{place}/remove", "leave"),
)
DARK = ("keys", "keys/new", "webhooks/{webhook}", "people")


@pytest.fixture
def account() -> Account:
    return factories.account()


@pytest.fixture
def console(account: Account, context: BrowserContext, page: Page, site: str) -> str:
    """Sign an owner of the account in, and return the address of its pages."""
    owner = sign_in_member(context, account, Role.OWNER, site=site)
    owner.first_name, owner.last_name = "Ada", "Lovelace"
    owner.save()
    return f"{site}/console/{account.pk}"


def filled(account: Account) -> dict[str, int]:
    """Fill the account with keys, webhooks and people, and return the ids of some."""
    later = datetime.now(UTC) + timedelta(days=90)
    for scopes in (("read",), tuple(Scope)):
        keys.issue(
            account_id=account.pk, name="a program with quite a long name", grants=Grants(scopes=scopes)
        )
    limited = Grants(
        scopes=("generate", "read"),
        expires_at=later,
        allowed_ips=("192.0.2.0/24",),
        allowed_models=("zekron-image-1",),
        spend_limit_micros=25_000_000,
    )
    key, _ = keys.issue(account_id=account.pk, name="shop", grants=limited)
    keys.revoke(key_id=keys.issue(account_id=account.pk)[0].pk)
    url = "https://hooks.example.com/a/rather/long/path/of/a/receiver/that/does/not/fit?on=a-phone"
    webhook = made.endpoint(account, url=url, subscribed=events.SUBSCRIBABLE, description="the shop's server")
    for changes in (
        {"next_at": None, "delivered_at": made.NOW, "response_status": 204, "milliseconds": 83},
        {"next_at": None, "error": "status", "response_status": 500, "attempt_count": 8},
        {"next_at": later, "error": "timeout", "attempt_count": 2},
    ):
        made.delivery(webhook, **changes)
    with transaction.atomic():
        endpoints.disable(endpoint=made.endpoint(account), reason=DisabledReason.FAILING)
    place = member(account, Role.VIEWER).memberships.get()
    invitations.create(account_id=account.pk, email="bo@example.com", role="member", invited_by="ada")
    return {"key": key.pk, "webhook": webhook.pk, "place": place.pk}


def test_every_page_fits_its_window_and_is_accessible(account: Account, console: str, page: Page) -> None:
    ids = filled(account)
    for path in PAGES:
        page.goto(f"{console}/{path.format(**ids)}")
        # The other pages have the colours of these.
        assert_fits_everybody(page, schemes=SCHEMES if path in DARK else ("light",))


def test_a_menu_closes_by_escape_and_by_what_is_done_elsewhere(console: str, page: Page) -> None:
    page.goto(f"{console}/keys")
    account, person = page.locator("header summary").all()
    link = page.get_by_role("link", name="Sign-in and security")
    person.click()
    link.focus()
    page.keyboard.press("Escape")
    assert not link.is_visible()
    assert person.evaluate("each => each === document.activeElement")
    person.click()
    account.click()
    assert not link.is_visible()
    assert page.get_by_role("link", name="Leave this account").is_visible()
    page.get_by_role("heading", name="API keys").click()
    assert not page.get_by_role("link", name="Leave this account").is_visible()


def test_an_owner_creates_and_revokes_a_key_and_invites_somebody(
    console: str, context: BrowserContext, page: Page, site: str
) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{console}/keys")
    page.get_by_role("link", name="Create a key").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("button", name="Create the key").click()
    text = page.locator("#new-key").inner_text()
    assert processes.Server(site, text).ask("/v1/balance").status == 200
    page.get_by_role("link", name="Done").click()
    assert text not in page.content()
    page.get_by_role("link", name="Revoke laptop").click()
    page.get_by_role("button", name="Revoke the key").click()
    page.get_by_text("The key laptop is revoked.").wait_for()
    # The process that revoked the key forgets it at once.
    assert processes.Server(site, text).ask("/v1/balance").status == 401

    page.get_by_role("link", name="People").click()
    page.get_by_role("link", name="Invite somebody").click()
    page.get_by_label("Email address").fill("bo@example.com")
    page.get_by_role("button", name="Invite").click()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("status").get_by_text("Copied").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.locator("#link").inner_text()
    assert invitations.find(token=copied.rpartition("/")[2]).email == "bo@example.com"


def test_a_webhook_is_added_and_its_deliveries_are_filtered_and_sent_again(console: str, page: Page) -> None:
    page.goto(f"{console}/webhooks/new")
    page.get_by_label("URL").fill("https://8.8.8.8/zekron")
    page.get_by_role("button", name="Add the webhook").click()
    assert page.locator("#secret").inner_text().startswith("whsec_")
    webhook = WebhookEndpoint.objects.get()
    delivered = made.delivery(webhook, next_at=None, delivered_at=made.NOW, response_status=204)
    failed = made.delivery(webhook, next_at=None, error="timeout")
    page.get_by_role("link", name="Done").click()
    page.locator(f"#delivery-{delivered.pk}").wait_for()
    page.get_by_role("link", name="Failed", exact=True).click()
    page.locator(f"#delivery-{delivered.pk}").wait_for(state="detached")
    page.wait_for_url("**?state=failed")
    page.get_by_role("button", name=f"Send again delivery {failed.pk}").click()
    page.locator(f"#delivery-{failed.pk}").get_by_text("pending").wait_for()
    # The button has gone, and whoever uses the keyboard goes on from the row.
    page.locator(f"#state-{failed.pk}:focus").wait_for()
    # The row looks by itself whether it was delivered.
    WebhookDelivery.objects.filter(pk=failed.pk).update(next_at=None, delivered_at=made.NOW)
    page.locator(f"#delivery-{failed.pk}").get_by_text("delivered").wait_for()
    page.go_back()
    page.locator(f"#delivery-{delivered.pk}").wait_for()
