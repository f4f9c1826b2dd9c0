"""The admin of API keys: issue, show once, change, rotate and revoke. A key is never deleted."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from billing import key_changes, key_spending, keys, money
from billing.admin import reauthentication
from billing.admin.key_forms import KeyForm, RotateKeyForm
from billing.admin.reauthentication import ProvenAddition
from billing.grants import Grants
from billing.models import ApiKey

# The columns of an existing key, which a change leaves as they are.
_COLUMNS: Final = (
    "state",
    "spent",
    "prefix",
    "last_four",
    "created_at",
    "last_used_at",
    "former_until",
    "revoked_at",
)


@admin.register(ApiKey)
class ApiKeyAdmin(ProvenAddition):
    """The admin of keys, which never shows a key's digest and shows its text only once."""

    form = KeyForm
    list_display = [
        "__str__",
        "account",
        "name",
        "state",
        "created_at",
        "last_used_at",
        "expires_at",
        "revoked_at",
    ]
    list_select_related = ["account"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "=prefix", "=last_four", "=account__name", "=account__id"]
    search_help_text = "Search by key name, first twelve or last four characters, account name or account id."
    autocomplete_fields = ["account"]
    ordering = ["-id"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Return the input fields of a key, and for an existing one its columns."""
        inputs = list(KeyForm.Meta.fields)
        return inputs if obj is None else [*inputs, *_COLUMNS]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Return what a change of a key leaves as it is."""
        return [] if obj is None else ["account", *_COLUMNS]

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Allow nobody to change a revoked key."""
        is_revoked = obj is not None and obj.revoked_at is not None
        return not is_revoked and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Allow nobody to delete a key, because a revoked key still names its account."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Allow staff with Django's permission to change keys."""
        return super().has_change_permission(request)

    @admin.display(description="Spent and reserved in the period (USD)")
    def spent(self, key: ApiKey) -> str:
        """Return what counts towards the limit of spending."""
        return money.format_usd(key_spending.counted_micros(key, now=timezone.now()))

    @admin.display
    def state(self, key: ApiKey) -> str:
        """Return `live`, `expired` or `revoked`."""
        return keys.state_of(key, now=timezone.now())

    def save_model(self, request: HttpRequest, obj: ApiKey, form: "ModelForm[ApiKey]", change: bool) -> None:
        """Change or issue the key. The object keeps a new text in memory until the page that shows it is rendered."""
        granted: Grants = form.grants  # type: ignore[attr-defined] # it is a KeyForm
        if change:
            # The key's account may have changed the rest since the page was loaded.
            changes = {name: getattr(granted, name) for name in form.changed_data if hasattr(granted, name)}
            name = obj.name if "name" in form.changed_data else None
            key_changes.change(key_id=obj.pk, name=name, grants=changes)
            return
        issued, text = keys.issue(account_id=obj.account_id, name=obj.name, grants=granted)
        obj.__dict__.update(issued.__dict__, text=text)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key's text in the response itself."""
        return self._show_text(request, obj, obj.__dict__.pop("text"), title="New API key")

    def get_urls(self) -> list[URLPattern]:
        """Add the page for a rotation."""
        rotate = self.admin_site.admin_view(self.rotate)
        return [path("<int:key_id>/rotate/", rotate, name="billing_apikey_rotate"), *super().get_urls()]

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the key's page, with a link to its rotation for staff who may change it."""
        key = self.get_object(request, object_id)
        may_rotate = {"may_rotate": self.has_change_permission(request, key)}
        return super().change_view(request, object_id, form_url, {**may_rotate, **(extra_context or {})})

    def rotate(self, request: HttpRequest, key_id: int) -> HttpResponse:
        """Ask for the overlap, give the key a new text, and show it."""
        key: ApiKey | None = self.get_object(request, str(key_id))
        if not self.has_change_permission(request, key):
            raise PermissionDenied
        if key is None:
            raise Http404
        if asked := reauthentication.ask(request):
            return asked
        form = RotateKeyForm(reauthentication.typed_form(request))
        if request.method == "POST" and form.is_valid():
            hours: int = form.cleaned_data["overlap_hours"]
            with transaction.atomic():
                key, text = key_changes.rotate(key_id=key_id, overlap=timedelta(hours=hours))
                self.log_change(request, key, f"Rotated. The former key stays valid for {hours} hours.")
            return self._show_text(request, key, text, title="Rotated API key")
        context = {**self.admin_site.each_context(request), "title": "Rotate", "opts": self.opts}
        context |= {"original": key, "form": form}
        return TemplateResponse(request, "admin/billing/apikey/rotate.html", context)

    def _show_text(self, request: HttpRequest, key: ApiKey, text: str, *, title: str) -> HttpResponse:
        """Show a new text of a key.

        No message, session, cookie or URL keeps the text. The response is `no-store`, like every page of Django's
        admin.
        """
        context = {**self.admin_site.each_context(request), "title": title, "opts": self.opts}
        return TemplateResponse(
            request, "admin/billing/apikey/issued.html", {**context, "key": key, "text": text}
        )

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Revoke each key from its next use on."""
        for key in queryset:
            try:
                keys.revoke(key_id=key.pk)
            except keys.AlreadyRevoked as error:
                self.message_user(request, str(error), messages.WARNING)
                continue
            self.log_change(request, key, "Revoked.")
            self.message_user(request, f"Key {key} is revoked.")
