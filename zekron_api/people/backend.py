"""The check of names and passwords: django-allauth's, with one hash for each try."""

from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest


class PersonBackend(AuthenticationBackend):  # type: ignore[misc] # the library has no types
    """The only backend: a login by e-mail address or user name."""

    def authenticate(self, request: HttpRequest | None, **credentials: Any) -> AbstractBaseUser | None:
        """Return the person whose password it is.

        The form gives a text that looks like an address both as a user name and as an address. The library would hash
        the password for each, and the time of the reply would tell which addresses are known.
        """
        if credentials.get("username") == credentials.get("email"):
            credentials.pop("email", None)
        found: AbstractBaseUser | None = super().authenticate(request, **credentials)
        return found
