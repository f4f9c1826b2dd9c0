"""The person that a command names."""

from allauth.account.internal.userkit import filter_users_by_email, get_user_by_username
from django.contrib.auth.models import User
from django.core.management.base import CommandError


def find_person(text: str) -> User:
    """Return the person with this user name or e-mail address. Raises CommandError."""
    named: User | None = get_user_by_username(text)
    found: list[User] = [named] if named else filter_users_by_email(text, prefer_verified=True)
    if len(found) != 1:
        problem = "Several people have" if found else "Nobody has"
        raise CommandError(f"{problem} the user name or e-mail address {text!r}.")
    if not found[0].is_active:
        raise CommandError(f"{text!r} is not active.")
    return found[0]
