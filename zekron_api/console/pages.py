"""The frame of every page of the console: its navigation, and the accounts that the person may change to."""

from typing import Any, Final, NamedTuple

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_template

from billing import memberships
from billing.grants import Scope
from zekron_api.console.access import Access


class Page(NamedTuple):
    """A page in the navigation, and the scope that its readers need."""

    name: str
    title: str
    scope: Scope


NAVIGATION: Final[tuple[Page, ...]] = (
    Page("playground", "Playground", Scope.READ),
    Page("gallery", "Gallery", Scope.READ),
    Page("usage", "Usage", Scope.USAGE),
    Page("billing", "Billing", Scope.USAGE),
    Page("keys", "API keys", Scope.KEYS),
    Page("webhooks", "Webhooks", Scope.WEBHOOKS),
    Page("people", "People", Scope.KEYS),
)


def render(
    request: HttpRequest,
    access: Access,
    template: str,
    context: dict[str, Any] | None = None,
) -> HttpResponse:
    """Return the page. `template` is below `zekron_api/console/`.

    The first part of its path names the page in the navigation: `keys.html` and `keys/form.html` belong to `keys`.
    """
    frame = {
        "access": access,
        "account": access.account,
        "pages": [page for page in NAVIGATION if page.scope in access.grants.scopes],
        "page_name": template.partition("/")[0].removesuffix(".html"),
        "memberships": memberships.list_of_user(user_id=access.user.pk),
    }
    return render_template(request, f"zekron_api/console/{template}", {**frame, **(context or {})})
