"""People of the console in a real browser."""

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import BrowserContext, Page

from billing import memberships
from billing.membership_models import Role
from billing.models import Account
from tests.browser.accessibility import find_violations

WIDTHS = (1280, 800, 390)


def sign_in(context: BrowserContext, site: str, name: str, account: Account, role: str = Role.MEMBER) -> User:
    """Make a person of the account, and sign them in in this profile."""
    user = User.objects.create_user(name)
    memberships.add(user_id=user.pk, account_id=account.pk, role=role)
    client = Client()
    client.force_login(user)
    cookie = client.cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([{"name": cookie.key, "value": cookie.value, "url": site}])
    return user


def assert_fits_everybody(page: Page) -> None:
    """Check the page at three widths for a sideways scroll, and in light and dark by the rules of WCAG."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
        assert find_violations(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
