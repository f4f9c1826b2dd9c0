"""The people of an account in the admin: who belongs to it, who is invited, and the page that invites."""

from typing import Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

from billing import invitation_links, invitations, memberships
from billing.admin import reauthentication
from billing.admin.account_pages import AccountPages
from billing.admin.forms import InviteForm
from billing.models import Account


class InvitingMixin(AccountPages):
    """The part of the admin of accounts that shows and invites people."""

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the account's page with its people and its open invitations."""
        account = self.get_object(request, object_id)
        people = {} if account is None else _people(account.pk)
        return super().change_view(request, object_id, form_url, {**people, **(extra_context or {})})

    def get_urls(self) -> list[URLPattern]:
        """Add the page that invites."""
        view = self.admin_site.admin_view(self.invite)
        return [path("<int:account_id>/invite/", view, name="billing_account_invite"), *super().get_urls()]

    def invite(self, request: HttpRequest, account_id: int) -> HttpResponse:
        """Ask whom to invite, and show the link. An owner moves the account's money, so the proof is asked for."""
        account = self.require_account(request, account_id)
        if asked := reauthentication.ask(request):
            return asked
        form = InviteForm(reauthentication.typed_form(request))
        if request.method == "POST" and form.is_valid():
            try:
                return self._show_link(request, account, self._create(request, account, form.cleaned_data))
            except invitations.TooManyInvitations as error:
                form.add_error(None, str(error))
        context = self.frame_of(request, account, title="Invite")
        context |= {"form": form, "days": invitations.LIFE.days}
        return TemplateResponse(request, "admin/billing/account/invite.html", context)

    def _create(self, request: HttpRequest, account: Account, invited: dict[str, str]) -> invitations.Issued:
        with transaction.atomic():
            issued = invitations.create(
                account_id=account.pk, invited_by=request.user.get_username(), **invited
            )
            self.log_change(request, account, f"Invited {invited['email']} as {invited['role']}.")
        return issued

    def _show_link(self, request: HttpRequest, account: Account, issued: invitations.Issued) -> HttpResponse:
        """Show the link in the response itself. Nothing else keeps it."""
        context = self.frame_of(request, account, title="Invitation")
        context |= {
            "invitation": issued.invitation,
            "link": invitation_links.address_of(issued),
            "is_mailed": invitation_links.send(issued=issued),
        }
        return TemplateResponse(request, "admin/billing/account/invited.html", context)


def _people(account_id: int) -> dict[str, Any]:
    return {
        "memberships": memberships.list_of_account(account_id=account_id),
        "invitations": invitations.list_open(account_id=account_id),
    }
