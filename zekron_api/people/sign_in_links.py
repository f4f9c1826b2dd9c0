"""Links that sign one person in, once, within an hour. No table holds them: a token is a signature.

It covers the time of the person's last login, so that any login uses it up.
"""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.db import transaction
from django.urls import reverse
from django.utils.http import base36_to_int, int_to_base36

LIFE: Final = timedelta(hours=1)
# The ids of users are 32-bit integers.
_KEYS: Final = 2**31


class InvalidLink(Exception):
    """The link is unknown, used or expired. Which one, nobody is told."""


class _Tokens(PasswordResetTokenGenerator):
    key_salt = "zekron_api.people.sign_in_links"

    def check_token(self, user: User | None, token: str | None) -> bool:
        """Return whether it is a token of this person, and not too old. The class's own limit is three days."""
        if user is None or token is None or not super().check_token(user, token):
            return False
        made = base36_to_int(token.partition("-")[0])
        return self._num_seconds(self._now()) - made <= LIFE.total_seconds()


_tokens: Final = _Tokens()


def make(*, user: User, next_path: str = "") -> str:
    """Return the address of a link. `next_path` is the page to which it leads."""
    token = f"{int_to_base36(user.pk)}-{_tokens.make_token(user)}"
    query = {"next": next_path} if next_path else None
    return f"{settings.PUBLIC_URL}{reverse('sign_in', args=[token], query=query)}"


def find(*, token: str) -> User:
    """Return the person of the link. Within a transaction the row is locked, so that a link is used once.

    Raises InvalidLink.
    """
    digits, _, proof = token.partition("-")
    user = _find_user(digits)
    if user is None or not _tokens.check_token(user, proof):
        raise InvalidLink("This link is unknown, used or expired. Ask the operator for a new one.")
    return user


def _find_user(digits: str) -> User | None:
    try:
        key = base36_to_int(digits)
    except ValueError:
        return None
    if key >= _KEYS:
        return None
    with transaction.atomic():
        return User.objects.select_for_update(no_key=True).filter(pk=key, is_active=True).first()
