"""The published endpoints. Each view parses the request, makes one domain call and replies."""

import re
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NoReturn, cast

from csp.constants import NONE
from csp.decorators import csp
from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from django.utils.decorators import method_decorator
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from billing.models import Account
from workers.lifecycle import queries
from workers.models import Generation
from zekron_api.endpoints import create_generation, generation_response, image_download, response_bodies
from zekron_api.endpoints.serializers import GenerateSerializer, PageSerializer
from zekron_api.http import errors, rate_limit
from zekron_api.http.authentication import FreshAccountAuthentication
from zekron_api.http.json_body import check_body
from zekron_api.waiting.deferred_response import PendingGenerationResponse

_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")


class ApiView(APIView):
    """Base of the views that need a key. It checks key, method and rate, in the order of the contract.

    Every reply to a valid key carries the headers of the rate limit.
    """

    # OPTIONS is missing because programs with a key call the API, and pages of other sites do not.
    http_method_names = ["get", "head", "post"]
    rate: rate_limit.Rate | None = None
    rate_scope = rate_limit.Scope.REQUESTS

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Check the request. Raises exceptions that `zekron_api.http.errors.TABLE` contains."""
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request, force=True
        )
        self.perform_authentication(request)
        if request.method not in self.allowed_methods:
            self.rate = rate_limit.peek(account_id=self.account.pk, scope=self.rate_scope)
            refuse_method(request.method, self.allowed_methods)
        try:
            self.rate = rate_limit.consume(account_id=self.account.pk, scope=self.rate_scope)
        except rate_limit.RateExceeded as error:
            self.rate = error.rate
            raise

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Add the headers of the rate limit, and forbid caches to keep the reply."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.rate is not None:
            response["X-RateLimit-Limit"] = str(self.rate.limit)
            response["X-RateLimit-Remaining"] = str(self.rate.remaining)
            response["X-RateLimit-Reset"] = str(self.rate.reset_at)
        response["Cache-Control"] = "private, no-store"
        return response

    @property
    def account(self) -> Account:
        """The account of the request's key."""
        return cast(Account, self.request.user)


def refuse_method(method: str | None, allowed: Sequence[str]) -> NoReturn:
    """Raise MethodNotAllowed with a message that names the allowed methods."""
    message = f"{method} is not allowed here. Allowed: {', '.join(allowed)}."
    raise exceptions.MethodNotAllowed("", message)


class GenerateView(ApiView):
    """The endpoint POST /v1/generate."""

    def post(self, request: Request) -> HttpResponseBase:
        """Reserve the price, queue the generation, and return a reply that the waiting room completes later."""
        check_body(request)
        fields = GenerateSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        generation, replayed = create_generation.create(
            account_id=self.account.pk,
            fields=fields.validated_data,
            idempotency_key=_idempotency_key(request),
        )
        response = PendingGenerationResponse(
            account_id=self.account.pk,
            generation_id=generation.pk,
            # A retry may find a generation that has already ended.
            deadline=time.monotonic() + (settings.SYNC_WAIT_SECONDS if generation.is_open else 0),
            build=partial(generation_response.build, generation_id=generation.pk),
        )
        if replayed:
            response["Idempotent-Replayed"] = "true"
        return response


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise errors.InvalidIdempotencyKey
    return key


class ImageView(ApiView):
    """The endpoint GET /v1/images/{token}."""

    @method_decorator(csp({"default-src": [NONE], "sandbox": True}))
    def get(self, request: Request, token: str) -> HttpResponse:
        """Return the image's bytes, read from storage once one of the account's slots is free.

        The reply is 404 for an unknown token, 403 for another account's image and 410 for an expired image.
        """
        try:
            generation = queries.find_by_token(token=token)
        except Generation.DoesNotExist:
            raise exceptions.NotFound from None
        if generation.account_id != self.account.pk:
            raise exceptions.PermissionDenied
        assert generation.image is not None
        assert generation.expires_at is not None
        if generation.expires_at <= timezone.now():
            raise errors.ImageExpired
        return image_download.respond(request, generation=generation)


class BalanceView(ApiView):
    """The endpoint GET /v1/balance."""

    authentication_classes = [FreshAccountAuthentication]

    def get(self, request: Request) -> Response:
        """Return the account's balance and totals."""
        return Response(response_bodies.balance_reply(self.account))


class HistoryView(ApiView):
    """The endpoint GET /v1/generations."""

    authentication_classes = [FreshAccountAuthentication]

    def get(self, request: Request) -> Response:
        """Return one page of the account's generations, newest first."""
        query = PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit, offset = query.validated_data["limit"], query.validated_data["offset"]
        # Every generation has exactly one hold, and the account counts its holds.
        total = self.account.hold_count
        rows = queries.get_page(account_id=self.account.pk, total=total, limit=limit, offset=offset)
        return Response(response_bodies.history_reply(rows, total, limit, offset))
