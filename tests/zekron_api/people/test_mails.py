"""The mails of sign-in, which somebody else may ask for than their reader."""

import pytest
from allauth.account.models import EmailAddress
from django.contrib.auth.models import User
from django.core import mail as outbox
from django.test import Client
from pytest_django import Settings

pytestmark = pytest.mark.django_db


@pytest.fixture
def other_host(settings: Settings) -> Client:
    """Return a browser that names another host and port than the public ones, which the service serves too."""
    settings.SIGNUP, settings.PUBLIC_URL = "open", "https://api.example.com"
    settings.ALLOWED_HOSTS = [".example.com"]
    return Client(headers={"Host": "old.example.com:9999"})


@pytest.mark.parametrize(
    ("path", "email", "link"),
    [
        ("/me/password/reset/", "bob@example.com", "/me/password/reset/key/"),
        ("/me/signup/", "eve@example.com", "/me/confirm-email/"),
        ("/me/signup/", "bob@example.com", "/me/password/reset/"),
    ],
)
def test_the_links_of_mails_lead_to_the_public_address(
    other_host: Client, mail: None, bob: User, path: str, email: str, link: str
) -> None:
    EmailAddress.objects.create(user=bob, email=bob.email, verified=True, primary=True)
    other_host.post(path, {"email": email, "password1": "correct horse battery staple"})
    [sent] = outbox.outbox
    assert f"https://api.example.com{link}" in sent.body
    assert "9999" not in f"{sent.subject} {sent.body}"
