"""A browser on the console, for tests: it opens pages and sends their forms."""

import html
import re
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.test import Client

from billing.membership_models import Role
from billing.models import Account
from tests.zekron_api.console.people import member, signed_in

# Any page of the console sets the cookie whose token forms send back.
_TOKEN = "csrfmiddlewaretoken"


class Browser(NamedTuple):
    """A person's browser on an account's pages."""

    account: Account
    user: User
    client: Client

    def get(self, page: str, **headers: str) -> Any:
        return self.client.get(self._path(page), headers=headers)

    def send(self, page: str, **fields: Any) -> Any:
        return self.client.post(self._path(page), {_TOKEN: self._token(), **fields})

    def press(self, page: str, **headers: str) -> Any:
        """Send a form without fields, as htmx does with these headers."""
        return self.client.post(self._path(page), headers={"X-CSRFToken": self._token(), **headers})

    def shown(self, page: str) -> str:
        """Return the text of a page, without its tags."""
        response = self.get(page)
        assert response.status_code == 200, response.content
        return text_of(response)

    def _path(self, page: str) -> str:
        return f"/console/{self.account.pk}/{page}"

    def _token(self) -> str:
        if "csrftoken" not in self.client.cookies:
            self.get("leave")
        return self.client.cookies["csrftoken"].value


def browser(account: Account, role: str = Role.OWNER) -> Browser:
    """Sign a new person with this role in."""
    user = member(account, role)
    return Browser(account, user, signed_in(user))


def text_of(response: Any) -> str:
    """Return the words of a page, each apart by one space."""
    body = re.sub(r"<[^>]+>", " ", response.content.decode().partition("<main")[2])
    return html.unescape(" ".join(body.split()))
