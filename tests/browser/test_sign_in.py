"""The sign-in in a real browser: an invitation, an app's codes, and passkeys of Chromium's own authenticator."""

from collections.abc import Iterator

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import User
from playwright.sync_api import BrowserContext, CDPSession, Page

from billing import invitations
from tests import factories
from tests.browser.accessibility import assert_fits_everybody
from tests.zekron_api.people.pages import code_of
from zekron_api.people import sign_in_links

PASSWORD = "correct horse battery staple"


@pytest.fixture
def site(site: str) -> str:
    """Return the address by the name of the machine, because passkeys need a name."""
    return site.replace("127.0.0.1", "localhost")


@pytest.fixture
def authenticator(context: BrowserContext, page: Page) -> Iterator[CDPSession]:
    """Give the browser an authenticator that knows its owner and keeps passkeys."""
    session = context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
    }
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
    yield session
    session.detach()


def assert_fine(page: Page) -> None:
    """Assert that everybody can use the page. In light the colours are those of the console, whose pages test them."""
    assert_fits_everybody(page, schemes=("dark",))


def enter_password(page: Page, site: str, name: str) -> None:
    page.goto(f"{site}/me/login/")
    page.get_by_label("Email or user name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def sign_out(page: Page, site: str) -> None:
    page.goto(f"{site}/me/")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/me/login/")


def test_somebody_who_is_invited_joins_and_is_in_the_console(page: Page, site: str) -> None:
    account = factories.account()
    issued = invitations.create(
        account_id=account.pk, email="eve@example.com", role="owner", invited_by="ada"
    )
    page.goto(f"{site}/invitations/{issued.token}")
    page.get_by_label("Password").fill("short")
    page.get_by_role("button", name="Join").click()
    assert page.get_by_text("This password is too short").is_visible()
    assert page.get_by_label("Email").input_value() == "eve@example.com"
    assert_fine(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Join").click()
    page.wait_for_url(f"**/console/{account.pk}/**")
    page.get_by_text("eve", exact=False).first.click()
    page.get_by_role("link", name="Sign-in and security").click()
    page.wait_for_url("**/me/")
    for path in ("", "sessions/", "password/change/", "reauthenticate/"):
        page.goto(f"{site}/me/{path}")
        assert_fine(page)
    sign_out(page, site)
    assert_fine(page)
    enter_password(page, site, "eve@example.com")
    page.wait_for_url(f"**/console/{account.pk}/**")


def test_a_link_and_an_app_sign_in_and_a_used_link_is_told_on_a_page(
    page: Page, site: str, context: BrowserContext
) -> None:
    link = sign_in_links.make(
        user=User.objects.create_superuser("ada", password=PASSWORD), next_path="/me/2fa/"
    )
    path = link[link.index("/sign-in/") :]
    page.goto(site + path)
    assert_fine(page)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/me/2fa/")
    assert_fine(page)
    page.get_by_role("link", name="Set up an app").click()
    picture = page.get_by_role("img")
    assert picture.evaluate("picture => picture.complete && picture.naturalWidth > 0")
    assert_fine(page)
    secret = page.locator("#authenticator_secret").inner_text()
    page.get_by_label("Authenticator code").fill(code_of(secret))
    page.get_by_role("button", name="Set up").click()
    page.wait_for_url("**/recovery-codes/")
    recovery = page.locator("#recovery_codes").inner_text().split()
    assert len(recovery) == 10
    assert_fine(page)
    sign_out(page, site)
    enter_password(page, site, "ada")
    page.wait_for_url("**/2fa/authenticate/")
    assert_fine(page)
    page.get_by_label("Code").fill(recovery[0])
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_url("**/console/")
    # Not by `page`, whose console must stay empty: browsers write a line there about a 404.
    other = context.new_page()
    reply = other.goto(site + path)
    assert reply is not None
    assert reply.status == 404
    assert other.get_by_text("This link is unknown, used or expired.").is_visible()


def test_a_passkey_signs_in_without_a_password_and_stands_in_for_a_code(
    page: Page, site: str, authenticator: CDPSession
) -> None:
    User.objects.create_superuser("ada", password=PASSWORD)
    enter_password(page, site, "ada")
    page.goto(f"{site}/me/2fa/webauthn/add/")
    assert_fine(page)
    page.get_by_label("Sign in without a password").check()
    page.get_by_role("button", name="Add").click()
    page.wait_for_url("**/recovery-codes/")
    assert Authenticator.objects.filter(type=Authenticator.Type.WEBAUTHN).count() == 1
    page.goto(f"{site}/me/2fa/webauthn/")
    assert_fine(page)
    sign_out(page, site)
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_url("**/console/")
    sign_out(page, site)
    enter_password(page, site, "ada")
    page.get_by_role("button", name="Use a passkey or key").click()
    page.wait_for_url("**/console/")
