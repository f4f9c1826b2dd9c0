"""The views of people. The link of an invitation is shown once, in the reply itself."""

from typing import Final

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import invitation_links, invitations, memberships
from billing.grants import Scope
from billing.membership_models import Invitation, Membership, Role
from zekron_api.console import act_log, pages
from zekron_api.console.access import Access, member_page
from zekron_api.console.people.forms import InviteForm, RoleForm

# Who issues keys may give rights away. Only owners do.
_OWNERS: Final = Scope.KEYS


@require_safe
@member_page(_OWNERS)
def show_people(request: HttpRequest, access: Access) -> HttpResponse:
    """Show the people of the account, and its open invitations."""
    context = {
        "members": memberships.list_of_account(account_id=access.account.pk),
        "invitations": invitations.list_open(account_id=access.account.pk),
        "roles": Role.choices,
    }
    return pages.render(request, access, "people.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(_OWNERS)
def invite(request: HttpRequest, access: Access) -> HttpResponse:
    """Invite a person by the form, and show the link."""
    mine = access.account.pk
    form = InviteForm(request.POST if request.method == "POST" else None, account_id=mine)
    if form.is_valid():
        try:
            issued = invitations.create(account_id=mine, invited_by=access.actor, **form.cleaned_data)
        except invitations.TooManyInvitations as error:
            form.add_error(None, str(error))
        else:
            invitation = issued.invitation
            act_log.note(access, "made invitation %s as %s", invitation.pk, invitation.role)
            shown = {
                "invitation": invitation,
                "link": invitation_links.address_of(issued),
                "is_mailed": invitation_links.send(issued=issued),
                "sends_mail": settings.SENDS_MAIL,
            }
            return pages.render(request, access, "people/invited.html", shown)
    context = {"form": form, "days": invitations.LIFE.days, "sends_mail": settings.SENDS_MAIL}
    return pages.render(request, access, "people/invite.html", context)


@require_POST
@member_page(_OWNERS)
def revoke_invitation(request: HttpRequest, access: Access, invitation_id: int) -> HttpResponse:
    """Keep an open invitation from being used."""
    try:
        invitations.revoke(invitation_id=invitation_id, account_id=access.account.pk)
    except Invitation.DoesNotExist:
        raise Http404 from None
    act_log.note(access, "revoked invitation %s", invitation_id)
    messages.success(request, "The invitation is revoked.")
    return _to_people(access)


@require_POST
@member_page(_OWNERS)
def change_role(request: HttpRequest, access: Access, membership_id: int) -> HttpResponse:
    """Give a person another role."""
    place = _find(access, membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, f"The role must be one of: {', '.join(Role.values)}.")
        return _to_people(access)
    role = form.cleaned_data["role"]
    try:
        memberships.change_role(membership_id=place.pk, account_id=access.account.pk, role=role)
    except Membership.DoesNotExist:
        raise Http404 from None
    except memberships.LastOwner as error:
        messages.error(request, str(error))
        return _to_people(access)
    act_log.note(access, "made %s %s", place.user.get_username(), role)
    messages.success(request, f"{place.user.get_username()} is {role} now.")
    return (
        _to_people(access) if place.user_id != access.user.pk or role == Role.OWNER else _to_account(access)
    )


@require_http_methods(["GET", "HEAD", "POST"])
@member_page(_OWNERS)
def remove(request: HttpRequest, access: Access, membership_id: int) -> HttpResponse:
    """Take a person out of the account after a question."""
    place = _find(access, membership_id)
    if place.user_id == access.user.pk:
        return redirect("console:leave", account_id=access.account.pk)
    if request.method != "POST":
        return pages.render(request, access, "people/remove.html", {"place": place})
    try:
        memberships.remove(membership_id=place.pk, account_id=access.account.pk)
    except Membership.DoesNotExist:
        raise Http404 from None
    except memberships.LastOwner as error:
        # The person who asks was taken out meanwhile.
        messages.error(request, str(error))
        return _to_account(access)
    act_log.note(access, "took %s out", place.user.get_username())
    messages.success(request, f"{place.user.get_username()} was removed from the account.")
    return _to_people(access)


@require_http_methods(["GET", "HEAD", "POST"])
@member_page()
def leave(request: HttpRequest, access: Access) -> HttpResponse:
    """Leave the account after a question. Any member may, but for the last owner."""
    if request.method != "POST":
        return pages.render(request, access, "people/leave.html")
    try:
        memberships.remove(membership_id=access.membership.pk, account_id=access.account.pk)
    except Membership.DoesNotExist:
        # Somebody else took the person out at the same moment, or a form was sent twice.
        return redirect("console:front")
    except memberships.LastOwner as error:
        messages.error(request, str(error))
        return _to_account(access)
    act_log.note(access, "left")
    messages.success(request, f"You have left {access.account.name}.")
    return redirect("console:front")


def _find(access: Access, membership_id: int) -> Membership:
    return get_object_or_404(memberships.list_of_account(account_id=access.account.pk), pk=membership_id)


def _to_people(access: Access) -> HttpResponse:
    return redirect("console:people", account_id=access.account.pk)


def _to_account(access: Access) -> HttpResponse:
    return redirect("console:account", account_id=access.account.pk)
