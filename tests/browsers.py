"""Browsers of people for tests, as a login leaves them."""

import time

from django.contrib.auth.models import User
from django.test import Client


def sign_in(browser: Client, user: User, *, age_seconds: float = 0) -> Client:
    """Sign somebody in who proved so long ago who it is, by the password, and return the browser."""
    browser.force_login(user)
    session = browser.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - age_seconds}]
    session["account_authentication_methods_user"] = str(user.pk)
    session.save()
    return browser
