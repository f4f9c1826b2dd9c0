"""The base of the pages that act on one account in the admin."""

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from billing.models import Account


class AccountPages(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """The account of such a page, and the frame around the page."""

    def require_account(self, request: HttpRequest, account_id: int) -> Account:
        """Return the account for staff who may change accounts. Raises PermissionDenied or Http404."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        account: Account | None = self.get_object(request, str(account_id))
        if account is None:
            raise Http404
        return account

    def frame_of(self, request: HttpRequest, account: Account, *, title: str) -> dict[str, Any]:
        """Return what the templates of the admin need around a page of the account."""
        frame = self.admin_site.each_context(request)
        return {**frame, "title": title, "opts": self.opts, "original": account}
