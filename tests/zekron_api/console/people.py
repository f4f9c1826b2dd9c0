"""People of accounts, for the tests of the console."""

import itertools

from django.contrib.auth.models import User
from django.test import Client

from billing import memberships
from billing.membership_models import Role
from billing.models import Account

_numbers = itertools.count(1)


def member(account: Account, role: str = Role.OWNER) -> User:
    """Make a person with this role in the account."""
    user = User.objects.create_user(f"person{next(_numbers)}", email="person@example.com")
    memberships.add(user_id=user.pk, account_id=account.pk, role=role)
    return user


def signed_in(user: User) -> Client:
    """Return a browser in which the person is signed in, and which checks CSRF tokens as production does."""
    client = Client(enforce_csrf_checks=True, headers={"Accept": "text/html"})
    client.force_login(user)
    return client
