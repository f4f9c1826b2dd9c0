"""The entry of the console: it leads to the account that the person used last."""

from typing import cast

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render

from billing import memberships
from zekron_api.console import pages
from zekron_api.console.access import Access, last_account_id, member_page


@login_required
def serve(request: HttpRequest) -> HttpResponseBase:
    """Answer /console/: go to the account that was opened last, or to the first one."""
    ids = [each.account_id for each in memberships.list_of_user(user_id=cast(User, request.user).pk)]
    if not ids:
        return render(request, "zekron_api/console/no_account.html")
    last = last_account_id(request)
    return redirect("console:account", account_id=last if last in ids else ids[0])


@member_page()
def open_account(request: HttpRequest, access: Access) -> HttpResponseBase:
    """Answer the account's own address: go to its first page."""
    first = next(page for page in pages.NAVIGATION if page.scope in access.grants.scopes)
    return redirect(f"console:{first.name}", account_id=access.account.pk)
