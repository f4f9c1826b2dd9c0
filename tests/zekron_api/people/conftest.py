"""People with passwords, and a service with mail."""

import pytest
from django.contrib.auth.models import User
from pytest_django import Settings

PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def fast_passwords(settings: Settings) -> None:
    """Slow hashes are for production."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    """Create a superuser with a password."""
    return User.objects.create_superuser("ada", email="ada@example.com", password=PASSWORD)


@pytest.fixture
def bob() -> User:
    """Create a customer with a password."""
    return User.objects.create_user("bob", email="bob@example.com", password=PASSWORD)


@pytest.fixture
def mail(settings: Settings) -> None:
    """Let the service send mail, as with EMAIL_URL. Django keeps what is sent in `mail.outbox`."""
    settings.SENDS_MAIL = settings.ACCOUNT_LOGIN_BY_CODE_ENABLED = settings.ACCOUNT_EMAIL_NOTIFICATIONS = True
    settings.ACCOUNT_EMAIL_VERIFICATION = "mandatory"
