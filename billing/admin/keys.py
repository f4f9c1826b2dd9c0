"""Keys: issued, shown once, and revoked; never edited or deleted."""

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
    """What can be said of a key without its text or its digest."""

    form = IssueKeyForm
    list_display = ["__str__", "account", "name", "state", "created_at", "expires_at", "revoked_at"]
    list_select_related = ["account"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["name", "=prefix", "=last_four", "=account__name", "=account__id"]
    search_help_text = "Key's name, first twelve or last four characters, account's name or id"
    autocomplete_fields = ["account"]
    ordering = ["-id"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """What is asked for a new key; what is known of an old one."""
        if obj is None:
            return ["account", "name", "expires_at"]
        return ["account", "name", "prefix", "last_four", "state", "created_at", "expires_at", "revoked_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        """A key is never edited."""
        return [] if obj is None else self.get_fields(request, obj)

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Nobody edits a key."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Nobody: a revoked key says whose it was."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Whoever has Django's permission to change keys."""
        return super().has_change_permission(request)

    @admin.display
    def state(self, key: ApiKey) -> str:
        """Live, expired or revoked."""
        if key.revoked_at:
            return "revoked"
        return "expired" if key.expires_at and key.expires_at <= timezone.now() else "live"

    def save_model(self, request: HttpRequest, obj: ApiKey, form: "ModelForm[ApiKey]", change: bool) -> None:
        """Issues the key. Its text stays on this object, in memory, until the page that shows it is made."""
        issued, text = keys.issue(account_id=obj.account_id, name=obj.name, expires_at=obj.expires_at)
        obj.__dict__.update(issued.__dict__, text=text)

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Shows the text in the reply itself: in no message, session, cookie or address that would keep it.

        The reply is `no-store`, as Django makes every page of its admin.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "The new key",
            "opts": self.opts,
            "key": obj,
            "text": obj.__dict__.pop("text"),
        }
        return TemplateResponse(request, "admin/billing/apikey/issued.html", context)

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        """Ends each from its next use on."""
        for key in queryset:
            try:
                keys.revoke(key_id=key.pk)
            except keys.AlreadyRevoked as error:
                self.message_user(request, str(error), messages.WARNING)
                continue
            self.log_change(request, key, "Revoked.")
            self.message_user(request, f"Key {key} is revoked.")
