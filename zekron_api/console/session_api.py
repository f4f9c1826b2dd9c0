"""The API's own views for the console's scripts: by the session and a CSRF token in place of a key.

`/v1` itself never accepts a session.
"""

from typing import Any, cast

import orjson
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.http.response import HttpResponseBase
from rest_framework.authentication import SessionAuthentication
from rest_framework.request import Request
from rest_framework.response import Response

from billing.holds import AccountSuspended
from billing.models import Account
from workers import log_context
from zekron_api.console import access
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors, rate_limit
from zekron_api.http.authentication import Caller


class MemberAuthentication(SessionAuthentication):
    """Authentication by the session of a member of the account that the view names."""

    def authenticate(self, request: Request) -> tuple[Account, Caller]:
        """Return the account and the person. Raises SignedOut, PermissionDenied, Http404, AccountSuspended."""
        user: AbstractBaseUser | AnonymousUser = request._request.user
        if not user.is_authenticated:
            raise errors.SignedOut
        self.enforce_csrf(request)
        view = cast(SessionView, request.parser_context["view"])
        found = access.find(cast(User, user), account_id=view.account_id)
        if found.account.status != Account.Status.ACTIVE:
            raise AccountSuspended
        log_context.add(account_id=found.account.pk)
        return found.account, Caller(found.account, found.grants, person_id=user.pk)


class SessionView(ApiView):
    """Base of a view of the API that serves the console: `class X(SessionView, GenerateView)`.

    Its route names the account. Requests count in a limit of the console, so that a page takes none of a program's.
    """

    # The reference is of the API alone.
    schema = None
    authentication_classes = [MemberAuthentication]
    rate_scope = rate_limit.Scope.CONSOLE
    account_id: int

    def dispatch(self, request: Any, *args: Any, account_id: int, **kwargs: Any) -> HttpResponseBase:
        """Keep the account of the route, which the API's handlers do not take."""
        self.account_id = account_id
        return super().dispatch(request, *args, **kwargs)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Name the field of the request in an error as `param`, so that a page can say it beside the field."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if isinstance(response, errors.ErrorReply) and response.field:
            error = {**response.error, "param": response.field}
            response.content = orjson.dumps({"success": False, "error": error})
        return response
