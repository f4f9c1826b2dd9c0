"""What billing's tests start from."""

import pytest
from django.contrib.auth.models import User
from django.test import Client

from billing import ledger
from billing.models import Account


@pytest.fixture
def account() -> Account:
    """An account with 10 dollars; the test itself asks for the database."""
    return ledger.open_account(name="demo", opening_micros=10_000_000, actor="test")


STANDARD = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


@pytest.fixture
def standard_middleware(settings) -> None:
    """Django's own, so that the admin's tests need nothing of the web stack above billing."""
    settings.MIDDLEWARE = STANDARD
    settings.CSRF_FAILURE_VIEW = "django.views.csrf.csrf_failure"
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.SESSION_COOKIE_SECURE = settings.CSRF_COOKIE_SECURE = False


@pytest.fixture
def staff(client: Client, standard_middleware: None) -> Client:
    """A superuser's browser."""
    client.force_login(User.objects.create_superuser("ada"))
    return client
