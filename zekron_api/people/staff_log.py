"""Entries of the log of staff for their sign-ins, passwords and second factors. Customers have none."""

from collections.abc import Mapping
from typing import Any, Final

from allauth.account import signals as account_signals
from allauth.account.internal.userkit import filter_users_by_email, get_user_by_username
from allauth.mfa import signals as mfa_signals
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth import signals as auth_signals
from django.contrib.auth.models import User
from django.dispatch import Signal
from django.http import HttpRequest

from zekron_api.http import client_address

# Each of these signals names its user.
_EVENTS: Final[Mapping[Signal, str]] = {
    account_signals.user_logged_in: "Signed in",
    auth_signals.user_logged_out: "Signed out",
    account_signals.login_code_rejected: "Sign-in refused, because its code was wrong",
    account_signals.password_changed: "Password changed",
    account_signals.password_set: "Password set",
    account_signals.password_reset: "Password reset",
    account_signals.email_changed: "E-mail address changed",
    mfa_signals.authentication_failed: "Second factor was wrong",
    mfa_signals.authenticator_added: "Second factor added: {authenticator}",
    mfa_signals.authenticator_removed: "Second factor removed: {authenticator}",
    mfa_signals.authenticator_reset: "Second factor replaced: {authenticator}",
}


def connect() -> None:
    """Write an entry at each event. May be called twice."""
    for signal, message in _EVENTS.items():
        signal.connect(_receiver(message), weak=False, dispatch_uid=f"staff_log {message}")
    auth_signals.user_login_failed.connect(_on_login_failed, dispatch_uid="staff_log failed login")


def note(*, user: User, message: str) -> None:
    """Write an entry about a member of staff. About anybody else it writes nothing."""
    if user.is_staff:
        LogEntry.objects.log_actions(user.pk, [user], CHANGE, message, single_object=True)


def _receiver(message: str) -> Any:
    def receive(*, request: HttpRequest | None = None, user: User | None = None, **event: Any) -> None:
        # Somebody whose session has ended signs out as nobody.
        if user is not None:
            note(user=user, message=_sentence(message.format(**event), request))

    return receive


def _on_login_failed(
    *, credentials: Mapping[str, Any], request: HttpRequest | None = None, **_signal: Any
) -> None:
    """Write an entry for each member of staff whose name or address was tried."""
    name = credentials.get("username") or credentials.get("email") or ""
    named = get_user_by_username(name)
    for user in {*([named] if named else []), *filter_users_by_email(name)}:
        note(user=user, message=_sentence("Sign-in refused, because its password was wrong", request))


def _sentence(message: str, request: HttpRequest | None) -> str:
    address = client_address.read(request) if request is not None else None
    return f"{message}, from {address}." if address else f"{message}."
