"""Browsers in which a member of an account is signed in."""

from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from playwright.sync_api import BrowserContext

from billing.membership_models import Role
from billing.models import Account
from tests.zekron_api.console.people import member, signed_in


def sign_in(context: BrowserContext, user: User, *, site: str) -> None:
    """Give the browser the session of a person, without the form of the login."""
    session = signed_in(user).cookies[settings.SESSION_COOKIE_NAME].value
    name = settings.SESSION_COOKIE_NAME
    context.add_cookies([{"name": name, "value": session, "domain": urlsplit(site).hostname, "path": "/"}])


def sign_in_member(context: BrowserContext, account: Account, role: str = Role.MEMBER, *, site: str) -> User:
    """Make a person with this role in the account, and sign them in."""
    user = member(account, role)
    sign_in(context, user, site=site)
    return user
