"""The published endpoints. Each view parses the request, makes one domain call and replies."""

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn, cast

from csp.constants import NONE
from csp.decorators import csp
from django.http import HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.grants import Scope
from billing.models import Account
from workers.lifecycle import deletion, queries, watching
from workers.models import Generation
from zekron_api.endpoints import image_download, response_bodies
from zekron_api.http import errors, rate_limit
from zekron_api.http.authentication import Caller, FreshAccountAuthentication, caller_of


class ApiView(APIView):
    """Base of the views that need a key. It checks key, method and rate, in the order of the contract.

    Every reply to a valid key carries the headers of the rate limit, and says if a webhook of the account is disabled.
    """

    # OPTIONS is missing because programs with a key call the API, and pages of other sites do not.
    http_method_names = ["get", "head", "post", "patch", "delete"]
    rate: rate_limit.Rate | None = None
    rate_scope = rate_limit.Scope.REQUESTS
    # The scope that a key needs for a method. Any key may use a method without one. HEAD needs what GET needs.
    scopes: Mapping[str, Scope] = {}

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the request. Raises exceptions that `zekron_api.http.errors.TABLE` contains."""
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request, force=True
        )
        self.perform_authentication(request)
        if request.method not in self.allowed_methods:
            self.rate = rate_limit.peek(account=self.account, scope=self.rate_scope)
            refuse_method(request.method, self.allowed_methods)
        try:
            self._refuse_ungranted(request)
        except (errors.AddressNotAllowed, errors.MissingScope):
            self.rate = rate_limit.peek(account=self.account, scope=self.rate_scope)
            raise
        try:
            self.rate = rate_limit.consume(account=self.account, caller=self.caller, scope=self.rate_scope)
        except rate_limit.RateExceeded as error:
            self.rate = error.rate
            raise

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the headers of the rate limit, and forbid caches to keep the reply."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.rate is not None:
            for name, value in self.rate.headers(self.rate_scope).items():
                response[name] = value
            if count := self.account.disabled_webhook_count:
                response["X-Zekron-Webhook-Disabled"] = str(count)
        response["Cache-Control"] = "private, no-store"
        return response

    def _refuse_ungranted(self, request: Request) -> None:
        """Raise AddressNotAllowed or MissingScope unless the key grants a request with this method from this client."""
        grants = self.caller.grants
        if not grants.admits_address(request.META.get("REMOTE_ADDR", "")):
            raise errors.AddressNotAllowed
        scope = self.scopes.get("GET" if request.method == "HEAD" else request.method or "")
        if scope is not None and scope not in grants.scopes:
            raise errors.MissingScope(self._missing(scope))

    def _missing(self, scope: Scope) -> str:
        if self.caller.person_id is not None:
            return "Your role in this account does not allow this. Ask one of its owners for another role."
        return f"This request needs an API key with the scope {scope}."

    @property
    def caller(self) -> Caller:
        """The key that asks, or the person."""
        return caller_of(self.request)

    @property
    def account(self) -> Account:
        """The account of the caller."""
        return cast(Account, self.request.user)


def read_id(text: str) -> int:
    """Return the id that a path names. Raises NotFound for a text that is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= watching.MAX_ID_DIGITS):
        raise exceptions.NotFound
    return int(text)


def refuse_method(method: str | None, allowed: Sequence[str]) -> NoReturn:
    """Raise MethodNotAllowed with a message that names the allowed methods."""
    message = f"{method} is not allowed here. Allowed: {', '.join(allowed)}."
    raise exceptions.MethodNotAllowed("", message)


class ImageView(ApiView):
    """The endpoint GET /v1/images/{token}."""

    scopes = {"GET": Scope.READ, "DELETE": Scope.DELETE}

    @method_decorator(csp({"default-src": [NONE], "sandbox": True}))
    def get(self, request: Request, token: str) -> HttpResponse:
        """Return the image's bytes, read from storage once one of the account's slots is free.

        The reply is 404 for an unknown token, 403 for another account's image and 410 for an expired image.
        """
        generation = self._find(token)
        assert generation.expires_at is not None
        if generation.expires_at <= timezone.now():
            raise errors.ImageExpired
        return image_download.respond(request, generation=generation)

    def delete(self, request: Request, token: str) -> HttpResponse:
        """Destroy the image's key now. The errors are those of GET, but a deletion may be repeated."""
        deletion.delete_image(generation_id=self._find(token).pk)
        return HttpResponse(status=204)

    def _find(self, token: str) -> Generation:
        try:
            generation = queries.find_by_token(token=token)
        except Generation.DoesNotExist:
            raise exceptions.NotFound from None
        if generation.account_id != self.account.pk:
            raise exceptions.PermissionDenied
        return generation


class BalanceView(ApiView):
    """The endpoint GET /v1/balance."""

    authentication_classes = [FreshAccountAuthentication]
    scopes = {"GET": Scope.READ}

    def get(self, request: Request) -> Response:
        """Return the account's balance and totals."""
        return Response(response_bodies.balance_reply(self.account))
