"""The site of the admin: Django's own, with the sign-in of all people, and an overview on its first page."""

from typing import Any

from allauth.account.utils import get_next_redirect_url
from django.conf import settings
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse

from zekron_api.people import second_factor
from zekron_api.staff import overview


class StaffSite(AdminSite):
    """The staff's pages. Each member sees the parts of the overview that their permissions allow."""

    index_template = "zekron_api/staff_index.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether somebody may enter: active staff, with a second factor where one is required."""
        return super().has_permission(request) and not _lacks_second_factor(request)

    def login(  # type: ignore[override] # a redirect is no page
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Lead to the sign-in of all people and back, or to the page on which to set up a second factor."""
        target = get_next_redirect_url(request) or reverse("admin:index", current_app=self.name)
        if request.user.is_anonymous:
            return redirect(reverse("account_login", query={"next": target}))
        if not super().has_permission(request):
            raise PermissionDenied
        if _lacks_second_factor(request):
            messages.warning(
                request, "Staff need a second factor. Set one up, then open the administration again."
            )
            return redirect("mfa_index")
        return redirect(target)

    def password_change(  # type: ignore[override] # as above
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """Lead to the page of all people, whose tries are counted."""
        return redirect("account_change_password")

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the overview above the list of pages."""
        shown = {
            "money": overview.read_money() if request.user.has_perm("billing.view_account") else None,
            "work": overview.read_work() if request.user.has_perm("workers.view_generation") else None,
        }
        return super().index(request, {**shown, **(extra_context or {})})


def _lacks_second_factor(request: HttpRequest) -> bool:
    return bool(settings.STAFF_MFA and not second_factor.has_one(request.user))
