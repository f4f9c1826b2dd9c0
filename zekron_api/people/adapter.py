"""The choices of this service for django-allauth: who may sign up, who must confirm an address, and lockouts."""

import contextlib
import logging
import time
from smtplib import SMTPException
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from allauth.account import app_settings
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.urls import reverse

from billing.invitations import MAX_EMAIL_CHARACTERS
from zekron_api.http import client_address, errors, login_failures, login_limit

log = logging.getLogger(__name__)

_CONFIRMATION: Final = "allauth.account.stages.EmailVerificationStage"
_OUR_CONFIRMATION: Final = "zekron_api.people.stages.ConfirmAddressStage"
_MISMATCH: Final = "This name and password do not belong together."
# Clients over a Unix socket have no address.
_NO_ADDRESS: Final = "0.0.0.0"  # noqa: S104 (nothing is bound to it)


class PersonAdapter(DefaultAccountAdapter):  # type: ignore[misc] # the library has no types
    """The adapter of the sign-in of customers and staff."""

    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "username_password_mismatch": _MISMATCH,
        "email_password_mismatch": _MISMATCH,
        "too_many_login_attempts": "Too many wrong tries. Try again in 15 minutes.",
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Return whether strangers may make an account."""
        return bool(settings.SIGNUP == "open")

    def clean_email(self, email: str) -> str:
        """Refuse an address that is longer than its column, which the library would cut off."""
        if len(email) > MAX_EMAIL_CHARACTERS:
            message = f"The address must have at most {MAX_EMAIL_CHARACTERS} characters."
            raise ValidationError(message)
        return str(super().clean_email(email))

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address of the client itself. No header that a client sends changes it."""
        return client_address.read(request) or _NO_ADDRESS

    def get_login_stages(self) -> list[str]:
        """Return the steps of a login, with our own in place of the one that asks to confirm an address."""
        return [
            _OUR_CONFIRMATION if stage == _CONFIRMATION else stage for stage in super().get_login_stages()
        ]

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """Send a mail that somebody waits for. Without the mail server the page says so.

        Its links lead to the public address, because whoever asks for a mail to somebody else chooses the header Host.
        """
        try:
            super().send_mail(template_prefix, email, _with_public_address(context))
        except (OSError, SMTPException) as error:
            log.warning("a mail for a sign-in could not be sent (%s)", type(error).__name__)
            raise ImmediateHttpResponse(errors.mail_failed()) from None

    def send_notification_mail(self, *args: Any, **kwargs: Any) -> None:
        """Send a mail about what was done. It stays done if the mail cannot be sent, which was logged."""
        with contextlib.suppress(ImmediateHttpResponse):
            super().send_notification_mail(*args, **kwargs)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Count the login before the password is hashed, and refuse one of a pair that is locked out."""
        try:
            login_failures.begin(**_pair(request, credentials))
        except login_failures.LockedOut:
            raise ImmediateHttpResponse(errors.lockout()) from None

    def authenticate(self, request: HttpRequest, **credentials: Any) -> AbstractBaseUser | None:
        """Return the person, and forget earlier failures after a success."""
        person: AbstractBaseUser | None = super().authenticate(request, **credentials)
        if person is not None:
            login_failures.forget(**_pair(request, credentials))
        return person

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Reply to the last failure before a lockout as to those after it."""
        if login_failures.is_locked_out(**_pair(request, credentials)):
            raise ImmediateHttpResponse(errors.lockout())

    def get_password_change_redirect_url(self, request: HttpRequest) -> str:
        """Return the page after a new password."""
        return reverse("me")

    def is_reauthentication_required(self, *, app: str, **options: Any) -> bool:
        """Return whether the person must prove again who it is. A login of the last minutes is a proof, too."""
        records = get_authentication_records(self.request, self.request.user)
        newest = max((record["at"] for record in records), default=0.0)
        return bool(time.time() - newest >= app_settings.REAUTHENTICATION_TIMEOUT)

    def get_reauthentication_methods(self, user: Any) -> list[dict[str, Any]]:
        """Return the ways to prove it. Who has neither a password nor a second factor must sign in again."""
        again = {"id": "sign_in_again", "description": "Sign in again", "url": reverse("sign_in_again")}
        return super().get_reauthentication_methods(user) or [again]


def _with_public_address(context: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a mail with our public address, in place of the host that the request names."""
    host = urlsplit(settings.PUBLIC_URL).netloc
    links = {name: _to_public(value) for name, value in context.items() if name.endswith("_url")}
    return {**context, **links, "current_site": SimpleNamespace(name=host, domain=host)}


def _to_public(url: str) -> str:
    parts = urlsplit(url)
    return f"{settings.PUBLIC_URL}{urlunsplit(('', '', parts.path, parts.query, ''))}"


def _pair(request: HttpRequest, credentials: dict[str, Any]) -> dict[str, Any]:
    """Return the address and the name under which failures count."""
    name = credentials.get("username") or credentials.get("email") or ""
    return {"address": login_limit.address_of(request), "name": name}
