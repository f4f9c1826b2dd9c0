"""The admin of API keys: issue, show once and revoke. A key is never edited or deleted."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from billing import keys
from billing.admin.forms import IssueKeyForm
from billing.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # Django's class takes its parameter in stubs alone
    """The admin of keys, which never shows a key's digest and shows its text only once."""

    form = IssueKeyForm
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
        """Return the input fields of a new key, or the columns of an existing one."""
        if obj is None:
            return ["account", "name", "expires_at"]
        return [*self.list_display[1:3], "prefix", "last_four", *self.list_display[3:]]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """Make every field of an existing key read-only."""
        return [] if obj is None else self.get_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Allow nobody to edit a key."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Allow nobody to delete a key, because a revoked key still names its account."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Allow staff with Django's permission to change keys."""
        return super().has_change_permission(request)

    @admin.display
    def state(self, key: ApiKey) -> str:
        """Return `live`, `expired` or `revoked`."""
        return keys.state_of(key, now=timezone.now())

    def save_model(self, request: HttpRequest, obj: ApiKey, form: "ModelForm[ApiKey]", change: bool) -> None:
        """Issue the key. The object keeps the key's text in memory until the page that shows it is rendered."""
        issued, text = keys.issue(account_id=obj.account_id, name=obj.name, grants=keys.grants_of(obj))
        obj.__dict__.update(issued.__dict__, text=text)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the key's text in the response itself.

        No message, session, cookie or URL keeps the text. The response is `no-store`, like every page of Django's
        admin.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "New API key",
            "opts": self.opts,
            "key": obj,
            "text": obj.__dict__.pop("text"),
        }
        return TemplateResponse(request, "admin/billing/apikey/issued.html", context)

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
