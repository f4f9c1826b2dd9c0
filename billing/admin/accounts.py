"""The admin of accounts: open, top up, refund, limit, suspend and reinstate. Shown values are never edited."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db import transaction
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from billing import accounts, ledger, limits
from billing.admin import reauthentication
from billing.admin.columns import usd
from billing.admin.export import ExportMixin
from billing.admin.forms import LimitsForm, MoveMoneyForm, OpenAccountForm, OpenAccountWithinDefaultForm
from billing.admin.people import InvitingMixin
from billing.admin.reauthentication import ProvenAddition
from billing.models import Account, LedgerEntry
from billing.money import format_usd


@admin.register(Account)
class AccountAdmin(InvitingMixin, ProvenAddition, ExportMixin):
    """The admin of balances and statuses. Every write goes through the ledger or the accounts module."""

    # To save a row that a form read a minute ago would write an old balance back, so no row is ever saved.
    amounts = [usd("balance_micros"), usd("reserved_micros"), usd("spent_micros"), usd("debt_micros")]
    list_display = ["name", "id", "status", *amounts, "available", "settlement_count", "created_at"]
    list_filter = ["status"]
    search_fields = ["name", "=id"]
    search_help_text = "Search by account name or account id."
    ordering = ["-id"]
    actions = ["suspend", "reinstate", "export_csv"]

    @admin.display(description="available")
    def available(self, account: Account) -> str:
        """Return the amount that can still be held, in dollars."""
        return format_usd(account.available_micros)

    @admin.display(description="limits")
    def limits(self, account: Account) -> str:
        """Return the limits that hold for the account."""
        return limits.limits_of(account).describe()

    def has_change_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Allow the actions by Django's permission, and allow nobody to edit a row."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Allow nobody to delete, because an account's ledger stays."""
        return False

    def get_form(
        self, request: HttpRequest, obj: Account | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form of a new account, which asks for its starting balance.

        A starting balance is money too, so more than the default needs the permission that moves money.
        """
        if obj is None:
            may_move_money = self.has_change_permission(request)
            kwargs["form"] = OpenAccountForm if may_move_money else OpenAccountWithinDefaultForm
        return super().get_form(request, obj, change, **kwargs)

    def get_fields(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """Return the input fields of a new account, or all columns of an existing one."""
        return ["name", "opening_micros"] if obj is None else [*self.list_display, "limits"]

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """Make every field of an existing account read-only."""
        return [] if obj is None else [*self.list_display, "limits"]

    def save_model(
        self, request: HttpRequest, obj: Account, form: "ModelForm[Account]", change: bool
    ) -> None:
        """Open the account through the ledger."""
        opened = ledger.open_account(
            name=obj.name,
            opening_micros=form.cleaned_data["opening_micros"],
            actor=request.user.get_username(),
        )
        obj.__dict__.update(opened.__dict__)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the account's page, with links to move money for staff who may do so."""
        may_move = {"may_move_money": self.has_change_permission(request)}
        return super().change_view(request, object_id, form_url, {**may_move, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        """Add the pages for a top-up, a refund and the limits of an account."""
        pages = [("top-up", "Top up", ledger.top_up), ("refund", "Refund", ledger.refund)]
        return [
            path(
                f"<int:account_id>/{name}/",
                self.admin_site.admin_view(partial(self.move_money, title=title, move=move)),
                name=f"billing_account_{name.replace('-', '_')}",
            )
            for name, title, move in pages
        ] + [
            path(
                "<int:account_id>/limits/",
                self.admin_site.admin_view(self.set_limits),
                name="billing_account_limits",
            ),
            *super().get_urls(),
        ]

    def move_money(
        self, request: HttpRequest, account_id: int, *, title: str, move: Callable[..., LedgerEntry]
    ) -> HttpResponse:
        """Ask for amount and reason, and move the money in the staff member's name."""
        account = self.require_account(request, account_id)
        if asked := reauthentication.ask(request):
            return asked
        form = MoveMoneyForm(reauthentication.typed_form(request))
        if request.method == "POST" and form.is_valid():
            try:
                entry = move(account_id=account_id, actor=request.user.get_username(), **form.cleaned_data)
            except ledger.MovedBefore as error:
                self.message_user(request, str(error), messages.WARNING)
                return _redirect_to(account)
            except (ValueError, ledger.InsufficientBalance) as error:
                form.add_error(None, str(error))
            else:
                return self._confirm_move(request, account, title, entry)
        context = self.frame_of(request, account, title=title)
        context |= {"form": form, "available": self.available(account)}
        return TemplateResponse(request, "admin/billing/account/move_money.html", context)

    def _confirm_move(
        self, request: HttpRequest, account: Account, title: str, entry: LedgerEntry
    ) -> HttpResponse:
        # The balance after the payment of a debt, too.
        amount, balance = format_usd(entry.amount_micros), format_usd(entry.account.balance_micros)
        debt = entry.account.debt_micros
        left = f", debt {format_usd(debt)} USD" if debt else ""
        message = f"{title}: {amount} USD, balance {balance} USD{left}."
        self.log_change(request, account, message)
        self.message_user(request, message)
        return _redirect_to(account)

    def set_limits(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Ask for the account's own limits, and set them."""
        account = self.require_account(request, account_id)
        if asked := reauthentication.ask(request):
            return asked
        form = LimitsForm(reauthentication.typed_form(request), instance=account)
        if request.method == "POST" and form.is_valid():
            message = f"Limits: {self.limits(Account(**form.cleaned_data))}."
            with transaction.atomic():
                limits.set_limits(account_id=account_id, **form.cleaned_data)
                self.log_change(request, account, message)
            self.message_user(request, message)
            return _redirect_to(account)
        context = {**self.frame_of(request, account, title="Limits"), "form": form}
        return TemplateResponse(request, "admin/billing/account/limits.html", context)

    @admin.action(description="Suspend selected accounts", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Refuse new work of the accounts. Accepted work is finished and charged."""
        self._set_status(request, queryset, accounts.suspend, "Suspended.")

    @admin.action(description="Reinstate selected accounts", permissions=["change"])
    def reinstate(self, request: HttpRequest, queryset: QuerySet[Account]) -> None:
        """Let the accounts spend again."""
        self._set_status(request, queryset, accounts.reinstate, "Reinstated.")

    def _set_status(
        self, request: HttpRequest, queryset: QuerySet[Account], change: Callable[..., None], message: str
    ) -> None:
        for account in queryset:
            change(account_id=account.pk)
            self.log_change(request, account, message)
            self.message_user(request, f"{account}: {message}")


def _redirect_to(account: Account) -> HttpResponse:
    return HttpResponseRedirect(reverse("admin:billing_account_change", args=[account.pk]))
