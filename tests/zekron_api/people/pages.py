"""The forms of sign-in as a browser sends them, and codes of an authenticator app."""

import re
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
    yield_hotp_counters_from_time,
)
from django.contrib.auth.models import User
from django.test import Client

from tests.zekron_api.people.conftest import PASSWORD

LOGIN = "/me/login/"
CODE = "/me/2fa/authenticate/"
ADDRESS = "192.0.2.1"


def log_in(name: str, password: str = PASSWORD, *, browser: Client | None = None, **more: str) -> Any:
    """Send the form of a login."""
    data = {"login": name, "password": password, **more}
    return (browser or Client()).post(LOGIN, data, REMOTE_ADDR=ADDRESS)


def with_app(user: User) -> str:
    """Give the person an authenticator app with recovery codes, and return its secret."""
    secret: str = generate_totp_secret()
    TOTP.activate(user, secret)
    RecoveryCodes.activate(user)
    return secret


def code_of(secret: str) -> str:
    """Return the code that the app shows now."""
    counter = next(iter(yield_hotp_counters_from_time()))
    return str(format_hotp_value(hotp_value(secret, counter)))


def recovery_codes_of(user: User) -> list[str]:
    """Return the person's recovery codes."""
    codes = Authenticator.objects.get(user=user, type=Authenticator.Type.RECOVERY_CODES).wrap()
    return list(codes.get_unused_codes())


def is_signed_in(browser: Client) -> bool:
    """Return whether the browser has a session of somebody."""
    return browser.get("/me/").status_code == 200


def links_in(text: str) -> list[str]:
    """Return the paths of this service's links in a text."""
    return re.findall(r"http://[^/\s]+(/\S+)", text)
