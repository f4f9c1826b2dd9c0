"""The admin of redemption codes: make, show once and revoke. A code is never edited or deleted."""

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from billing import codes
from billing.admin.columns import usd
from billing.admin.forms import CreateCodesForm
from billing.admin.reauthentication import ProvenAddition
from billing.income_models import RedemptionCode


@admin.register(RedemptionCode)
class RedemptionCodeAdmin(ProvenAddition):
    """The admin of codes, which never shows a code's digest and shows its text only once."""

    form = CreateCodesForm
    list_display = [
        "__str__",
        usd("amount_micros"),
        "state",
        "reason",
        "created_by",
        "created_at",
        "expires_at",
        "revoked_at",
        "redeemed_at",
        "redeemed_by",
    ]
    list_select_related = ["redeemed_by"]
    list_filter = [("redeemed_at", admin.EmptyFieldListFilter), ("revoked_at", admin.EmptyFieldListFilter)]
    search_fields = ["=id", "=last_four", "reason", "=redeemed_by__name", "=redeemed_by__id"]
    search_help_text = "Search by id, last four characters, reason, account name or account id."
    ordering = ["-id"]
    actions = ["revoke"]

    def get_fields(self, request: HttpRequest, obj: RedemptionCode | None = None) -> Any:
        """Return the input fields of new codes, or the columns of an existing one."""
        return ["amount_micros", "count", "expires_at", "reason"] if obj is None else self.list_display

    def get_readonly_fields(self, request: HttpRequest, obj: RedemptionCode | None = None) -> Any:
        """Make every field of an existing code read-only."""
        return [] if obj is None else self.list_display

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Allow staff who may also move money, because a code is worth its amount."""
        return super().has_add_permission(request) and request.user.has_perm("billing.change_account")

    def has_change_permission(self, request: HttpRequest, obj: RedemptionCode | None = None) -> bool:
        """Allow nobody to edit a code."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RedemptionCode | None = None) -> bool:
        """Allow nobody to delete a code, because a redeemed one explains a credit."""
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Allow staff with Django's permission to change codes."""
        return super().has_change_permission(request)

    @admin.display
    def state(self, code: RedemptionCode) -> str:
        """Return `live`, `redeemed`, `revoked` or `expired`."""
        if code.redeemed_at:
            return "redeemed"
        if code.revoked_at:
            return "revoked"
        return "expired" if code.expires_at <= timezone.now() else "live"

    def save_model(
        self, request: HttpRequest, obj: RedemptionCode, form: "ModelForm[RedemptionCode]", change: bool
    ) -> None:
        """Make the codes. The object becomes the first one, and keeps the texts of all in memory."""
        fields = form.cleaned_data
        made = codes.create(
            amount_micros=fields["amount_micros"],
            count=fields["count"],
            expires_at=fields["expires_at"],
            actor=request.user.get_username(),
            reason=fields["reason"],
        )
        obj.__dict__.update(made[0][0].__dict__, made=made)

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        """Return the number of the codes and their ids, which the history of the first one keeps."""
        made = form.instance.made
        return f"{len(made)} codes, ids {made[0][0].pk} to {made[-1][0].pk}."

    def response_add(
        self, request: HttpRequest, obj: RedemptionCode, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the codes in the response itself.

        No message, session, cookie or URL keeps them. The response is `no-store`, like every page of Django's admin.
        """
        context = {
            **self.admin_site.each_context(request),
            "title": "New redemption codes",
            "opts": self.opts,
            "code": obj,
            "texts": [text for _, text in obj.__dict__.pop("made")],
        }
        return TemplateResponse(request, "admin/billing/redemptioncode/made.html", context)

    @admin.action(description="Revoke selected codes", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[RedemptionCode]) -> None:
        """Keep each code from being redeemed."""
        for code in queryset:
            try:
                codes.revoke(code_id=code.pk)
            except codes.NotRevocable as error:
                self.message_user(request, str(error), messages.WARNING)
                continue
            self.log_change(request, code, "Revoked.")
            self.message_user(request, f"The {code} is revoked.")
