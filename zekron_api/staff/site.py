"""The site of the admin: Django's own, with an overview of the service on its first page."""

from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest
from django.template.response import TemplateResponse

from zekron_api.staff import overview


class StaffSite(AdminSite):
    """The staff's pages. Each member sees the parts of the overview that their permissions allow."""

    index_template = "zekron_api/staff_index.html"

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Show the overview above the list of pages."""
        shown = {
            "money": overview.read_money() if request.user.has_perm("billing.view_account") else None,
            "work": overview.read_work() if request.user.has_perm("workers.view_generation") else None,
        }
        return super().index(request, {**shown, **(extra_context or {})})
