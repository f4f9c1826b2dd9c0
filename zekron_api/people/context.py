"""The values of settings that the pages of sign-in need."""

from django.conf import settings
from django.http import HttpRequest


def sign_in(_request: HttpRequest) -> dict[str, bool]:
    """Return whether the service sends mail, and whether strangers may sign up. Pages promise neither without."""
    return {"sends_mail": settings.SENDS_MAIL, "is_signup_open": settings.SIGNUP == "open"}
