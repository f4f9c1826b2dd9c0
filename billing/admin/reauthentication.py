"""The proof of who a member of staff is, before money moves. A form that comes too late comes back as it was typed."""

import time
from typing import Any, Final

from allauth.account import app_settings
from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils.datastructures import MultiValueDict

# The typed form, in the session until it is shown again.
_KEPT: Final = "admin_typed_form"


def ask(request: HttpRequest) -> HttpResponse | None:
    """Return the way to prove it and back, or None for somebody who did so in the last minutes.

    What was typed is only shown again afterwards. It is sent again by the staff member alone.
    """
    if not is_reauthentication_required(request, app=__name__):
        return None
    if request.method == "POST":
        typed = request.POST.copy()
        typed.pop("csrfmiddlewaretoken", None)
        request.session[_KEPT] = {"path": request.path, "typed": typed.urlencode(), "at": time.time()}
    way = reverse("account_reauthenticate", query={"next": request.get_full_path()})
    return HttpResponseRedirect(way)


def typed_form(request: HttpRequest) -> QueryDict | None:
    """Return the form as it was sent, or as it was typed before the proof. None stands for an empty one."""
    return request.POST if request.method == "POST" else _take_kept(request)


def _take_kept(request: HttpRequest) -> QueryDict | None:
    kept = request.session.get(_KEPT)
    if not kept or kept["path"] != request.path:
        return None
    del request.session[_KEPT]
    # A form that somebody gave up is not shown much later.
    if time.time() - kept["at"] > app_settings.REAUTHENTICATION_TIMEOUT:
        return None
    messages.info(request, "This form is as you typed it. Nothing was done yet: check it, and send it again.")
    return QueryDict(kept["typed"])


class ProvenAddition(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """An admin whose page for a new row asks for the proof first."""

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show and take the form of a new row after the proof."""
        asked = ask(request) if self.has_add_permission(request) else None
        return asked or super().add_view(request, form_url, extra_context)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Return the values of an empty form, or those that were typed before the proof."""
        kept = _take_kept(request)
        if kept is None:
            return super().get_changeform_initial_data(request)
        fields = self.get_form(request).base_fields
        files: MultiValueDict[str, Any] = MultiValueDict()
        return {name: field.widget.value_from_datadict(kept, files, name) for name, field in fields.items()}
