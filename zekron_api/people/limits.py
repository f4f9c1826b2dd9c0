"""The limit of tries to sign in. It knows which pages take a secret, and whose name each try is for."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from allauth.account.internal.stagekit import unstash_login
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin

from zekron_api.http import errors, login_limit


def _field(name: str) -> Callable[[HttpRequest], str]:
    return lambda request: request.POST.get(name, "")


def _signed_in(request: HttpRequest) -> str:
    return request.user.get_username()


def _pending(request: HttpRequest) -> str:
    """Return the name of the person who has given a password, and still owes a code."""
    login = unstash_login(request, peek=True)
    return login.user.get_username() if login and login.user else ""


def _nobody(_request: HttpRequest) -> str:
    return ""


# The views that hash a password, or that compare a code or a key, by their names in the routes.
_NAMES: Final[Mapping[str, Callable[[HttpRequest], str]]] = {
    "account_login": _field("login"),
    "account_signup": _field("email"),
    "account_request_login_code": _field("email"),
    "account_confirm_login_code": _pending,
    "account_reauthenticate": _signed_in,
    "account_request_reauthentication_code": _signed_in,
    "account_confirm_reauthentication_code": _signed_in,
    "account_change_password": _signed_in,
    "account_set_password": _signed_in,
    "account_reset_password": _field("email"),
    "account_reset_password_from_key": _nobody,
    "mfa_authenticate": _pending,
    "mfa_reauthenticate": _signed_in,
    "mfa_reauthenticate_webauthn": _signed_in,
    "mfa_login_webauthn": _nobody,
    "invitation": _nobody,
}


class LoginLimit(MiddlewareMixin):
    """The limit of tries. It stands after the check of the form's CSRF token, which costs nothing."""

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        """Return the refusal of a try over the limit, before a password is hashed."""
        match = request.resolver_match
        find_name = _NAMES.get(match.view_name) if match else None
        if request.method != "POST" or find_name is None:
            return None
        try:
            login_limit.consume(address=login_limit.address_of(request), name=find_name(request))
        except login_limit.LoginsExceeded as error:
            message = f"Too many logins. Try again in {error.wait_seconds} seconds."
            return errors.refuse_login(message, wait_seconds=error.wait_seconds)
        return None
