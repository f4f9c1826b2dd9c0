"""The access to the console: members of an account open the pages whose scopes their roles have."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.cache import cache_control
from django_htmx.http import HttpResponseClientRefresh

from billing import memberships
from billing.grants import Grants, Scope
from billing.holds import AccountSuspended
from billing.membership_models import Membership, Role
from billing.models import Account
from zekron_api.http import errors, rate_limit

P = ParamSpec("P")

# The last account that a person opened, in the session.
LAST_ACCOUNT: Final = "console_account"


@dataclass(frozen=True)
class Access:
    """A person who opens a page of an account, as one of its members."""

    user: User
    membership: Membership

    @property
    def account(self) -> Account:
        """Return the account of the page."""
        return self.membership.account

    @property
    def is_owner(self) -> bool:
        """Return whether the person may change keys, money and people."""
        return self.membership.role == Role.OWNER

    @property
    def actor(self) -> str:
        """Return the name under which records keep what the person did."""
        return self.user.get_username()

    @property
    def grants(self) -> Grants:
        """Return what the person may do, in the terms of API keys."""
        return memberships.grants_of(self.membership.role)

    @property
    def may_generate(self) -> bool:
        """Return whether the person may spend the account's money on pictures."""
        return Scope.GENERATE in self.grants.scopes

    @property
    def may_delete(self) -> bool:
        """Return whether the person may delete pictures."""
        return Scope.DELETE in self.grants.scopes


Page = Callable[Concatenate[HttpRequest, Access, P], HttpResponseBase]


def member_page(*scopes: Scope) -> Callable[[Page[P]], Callable[..., HttpResponseBase]]:
    """Open the view to members whose role has all these scopes. The view gets their Access in place of `account_id`.

    Whoever is signed out signs in first. Others get 404 for an account of strangers, and 403 without a scope. Forms
    count in a limit of the account, beyond which the reply is 429. Those of a suspended account are 403.
    """

    def decorate(view: Page[P]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        @_reload_signed_out
        @login_required
        @cache_control(private=True, no_store=True)
        def opened(
            request: HttpRequest, account_id: int, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            access = find(cast(User, request.user), account_id=account_id)
            if not set(scopes) <= set(access.grants.scopes):
                raise PermissionDenied
            if request.method == "POST" and (refusal := _refuse_act(access.account)):
                return refusal
            if request.session.get(LAST_ACCOUNT) != account_id:
                request.session[LAST_ACCOUNT] = account_id
            return view(request, access, *args, **kwargs)

        return opened

    return decorate


def _refuse_act(account: Account) -> HttpResponse | None:
    """Return the refusal of a form, as the API refuses a request of such an account, or None."""
    try:
        if account.status != Account.Status.ACTIVE:
            raise AccountSuspended
        rate_limit.consume(account=account, scope=rate_limit.Scope.ACTS)
    except (AccountSuspended, rate_limit.RateExceeded) as error:
        return errors.reply_to(error)
    return None


def _reload_signed_out(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """Have htmx load the whole page again for whoever is signed out, in place of a form to sign in inside of it."""

    @wraps(view)
    def opened(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if "HX-Request" in request.headers and not request.user.is_authenticated:
            return HttpResponseClientRefresh()
        return view(request, *args, **kwargs)

    return opened


def find(user: User, *, account_id: int) -> Access:
    """Return the person's access to the account. Raises Http404 for one that the person does not belong to."""
    try:
        return Access(user, memberships.find(user_id=user.pk, account_id=account_id))
    except Membership.DoesNotExist:
        raise Http404 from None


def last_account_id(request: HttpRequest) -> Any:
    """Return the id of the account that the person opened last, or None. It may have gone since."""
    return request.session.get(LAST_ACCOUNT)
