"""People of accounts, for the tests of the console."""

import itertools
import re
from typing import Any

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


def send(client: Client, path: str, **fields: str) -> Any:
    """Send a form of the console, with the token that the client's browser has got with a page."""
    if "csrftoken" not in client.cookies:
        client.get("/console/", follow=True)
    token = client.cookies["csrftoken"].value
    return client.post(path, {**fields, "csrfmiddlewaretoken": token})


def signed_in(user: User) -> Client:
    """Return a browser in which the person is signed in, and which checks CSRF tokens as production does."""
    client = Client(enforce_csrf_checks=True, headers={"Accept": "text/html"})
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    """Return the words of a page without its tags, each apart by one space."""
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())
