"""The pages of sign-in that are this service's own: links, invitations, and what needs no mail."""

from typing import Any, Final

from allauth.account import views as library
from allauth.account.internal import flows
from allauth.account.models import Login
from allauth.account.utils import get_next_redirect_url
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from billing import invitations
from billing.membership_models import Invitation
from workers.lifecycle import error_codes
from zekron_api.http import errors
from zekron_api.people import second_factor, sign_in_links
from zekron_api.people.forms import JoinForm

_NOT_FOUND: Final = "not_found"


@login_required
@require_safe
def overview(request: HttpRequest) -> HttpResponse:
    """Answer /me/: the ways in which the person signs in, with links to change them."""
    return render(
        request, "zekron_api/people/overview.html", {"has_factor": second_factor.has_one(request.user)}
    )


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest, token: str) -> HttpResponseBase:
    """Answer a link: show a button, because programs that look at mail open links, and sign in when it is pressed."""
    try:
        with transaction.atomic():
            user = sign_in_links.find(token=token)
            if request.method == "POST":
                return _sign_in(request, user)
    except sign_in_links.InvalidLink as error:
        return _not_found(error)
    context = {"person": user, "next": get_next_redirect_url(request)}
    return render(request, "zekron_api/people/sign_in.html", context)


def _sign_in(request: HttpRequest, user: User) -> HttpResponseBase:
    if request.user.is_authenticated:
        flows.logout.logout(request, show_message=False)
    flows.login.record_authentication(request, user, method="link")
    login = Login(user=user, redirect_url=get_next_redirect_url(request))
    response: HttpResponseBase = flows.login.perform_login(request, login)
    return response


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponseBase:
    """Answer an invitation: a member joins by a button, and somebody new by an e-mail address and a password."""
    try:
        invitation = invitations.find(token=token)
        if request.user.is_authenticated:
            return _join_as(request, invitation, token)
        return _join_as_new(request, invitation, token)
    except invitations.InvalidInvitation as error:
        return _not_found(error)


def _join_as(request: HttpRequest, invitation: Invitation, token: str) -> HttpResponseBase:
    if request.method == "POST":
        invitations.accept(token=token, user_id=request.user.pk or 0)
        return redirect(_console_of(invitation))
    return _show(request, invitation)


def _join_as_new(request: HttpRequest, invitation: Invitation, token: str) -> HttpResponseBase:
    form = JoinForm(request.POST or None, initial={"email": invitation.email})
    if request.method != "POST" or not form.is_valid():
        return _show(request, invitation, form=form)
    # A link that was used meanwhile leaves no person behind.
    with transaction.atomic():
        person = form.save(request)
        invitations.accept(token=token, user_id=person.pk)
    response: HttpResponseBase = flows.signup.complete_signup(
        request, user=person, redirect_url=_console_of(invitation)
    )
    return response


def _show(request: HttpRequest, invitation: Invitation, **context: Any) -> HttpResponse:
    return render(request, "zekron_api/people/invitation.html", {"invitation": invitation, **context})


def _console_of(invitation: Invitation) -> str:
    return reverse("console:account", args=[invitation.account_id])


@login_required
@require_safe
def sign_in_again(request: HttpRequest) -> HttpResponse:
    """Answer the request to prove who it is, for somebody who has nothing to prove it by."""
    return render(request, "zekron_api/people/sign_in_again.html", {"next": get_next_redirect_url(request)})


def request_login_code(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer /me/login/code/, which mails a code. Without mail there is no such page."""
    if not settings.SENDS_MAIL:
        raise Http404
    response: HttpResponseBase = library.request_login_code(request, *args, **kwargs)
    return response


def password_reset(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer /me/password/reset/. Without mail the page says whom to ask."""
    if settings.SENDS_MAIL:
        response: HttpResponseBase = library.password_reset(request, *args, **kwargs)
        return response
    return _without_mail(request)


@login_required
def email(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer /me/email/. Without mail the page only shows the address, because no new one could be confirmed."""
    if settings.SENDS_MAIL:
        response: HttpResponseBase = library.email(request, *args, **kwargs)
        return response
    return _without_mail(request)


@require_safe
def _without_mail(request: HttpRequest) -> HttpResponse:
    name = request.resolver_match.url_name if request.resolver_match else ""
    return render(request, f"zekron_api/people/{name}.html")


@login_required
def set_password(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
    """Answer /me/password/set/, only to somebody who signed in lately, because no old password is asked for."""
    if flows.reauthentication.is_reauthentication_required(request, app=""):
        # Not by the library's exception, which would keep the new password in the session.
        return redirect(reverse("account_reauthenticate", query={"next": request.path}))
    response: HttpResponseBase = library.password_set(request, *args, **kwargs)
    return response


def _not_found(error: Exception) -> HttpResponse:
    return errors.envelope(404, _NOT_FOUND, str(error), error_codes.new_code(error_type=_NOT_FOUND))
