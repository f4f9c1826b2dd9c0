"""A browser on the console, for tests: it opens pages, sends their forms and reads their words."""

import html
import re
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.test import Client

from billing.membership_models import Role
from billing.models import Account
from tests.zekron_api.console.people import member, signed_in


class Browser(NamedTuple):
    """A person's browser on an account's pages."""

    account: Account
    user: User
    client: Client

    def get(self, page: str, **headers: str) -> Any:
        return self.client.get(self._path(page), headers=headers)

    def send(self, page: str, **fields: Any) -> Any:
        return send(self.client, self._path(page), **fields)

    def press(self, page: str, **headers: str) -> Any:
        """Send a form without fields, as htmx does with these headers."""
        return self.client.post(self._path(page), headers={"X-CSRFToken": _token_of(self.client), **headers})

    def shown(self, page: str) -> str:
        """Return the text of a page, without its tags."""
        response = self.get(page)
        assert response.status_code == 200, response.content
        return text_of(response)

    def _path(self, page: str) -> str:
        return f"/console/{self.account.pk}/{page}"


def browser(account: Account, role: str = Role.OWNER) -> Browser:
    """Sign a new person with this role in."""
    user = member(account, role)
    return Browser(account, user, signed_in(user))


def send(client: Client, path: str, **fields: Any) -> Any:
    """Send a form of the console, with the token that the client's browser has got with a page."""
    return client.post(path, {**fields, "csrfmiddlewaretoken": _token_of(client)})


def text_of(response: Any) -> str:
    """Return the words of a page's content, or of a fragment of a page, each apart by one space."""
    whole = response.content.decode()
    words = re.sub(r"<[^>]+>", " ", whole.partition("<main")[2] or whole)
    return html.unescape(" ".join(words.split()))


def _token_of(client: Client) -> str:
    # Any page of the console sets the cookie whose token forms send back.
    if "csrftoken" not in client.cookies:
        client.get("/console/", follow=True)
    return client.cookies["csrftoken"].value
