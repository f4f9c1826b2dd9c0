"""The published endpoints: each view parses, makes one domain call, replies."""

import re
import time
from functools import partial
from typing import Any, Final, cast

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
from storage import images
from storage.models import StoredImage
from workers.lifecycle import queries
from workers.models import Generation
from zekron_api.endpoints import create_generation, generation_response, response_bodies
from zekron_api.endpoints.serializers import GenerateSerializer, PageSerializer
from zekron_api.http import errors, rate_limit
from zekron_api.http.json_body import check_body
from zekron_api.waiting.deferred_response import DeferredResponse, PendingGenerationResponse

_IDEMPOTENCY_KEY: Final = re.compile(r"[ -~]{1,255}")


class ApiView(APIView):
    """Checks in the contract's order: key, method, rate; and puts the rate on every reply to a valid key."""

    # OPTIONS is not among them: the API is called by programs with a key, not by pages of other sites.
    http_method_names = ["get", "head", "post"]
    rate: rate_limit.Rate | None = None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Raises what `zekron_api.http.errors.TABLE` knows."""
        request.accepted_renderer, request.accepted_media_type = self.perform_content_negotiation(
            request, force=True
        )
        self.perform_authentication(request)
        if request.method not in self.allowed_methods:
            self.rate = rate_limit.peek(account_id=self.account.pk)
            allowed = ", ".join(self.allowed_methods)
            raise exceptions.MethodNotAllowed(
                "", f"{request.method} is not allowed here; allowed: {allowed}."
            )
        try:
            self.rate = rate_limit.consume(account_id=self.account.pk)
        except rate_limit.RateExceeded as error:
            self.rate = error.rate
            raise

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Adds the rate's headers."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.rate is not None:
            response["X-RateLimit-Limit"] = str(self.rate.limit)
            response["X-RateLimit-Remaining"] = str(self.rate.remaining)
            response["X-RateLimit-Reset"] = str(self.rate.reset_at)
        response["Cache-Control"] = "private, no-store"
        return response

    @property
    def account(self) -> Account:
        """Whose key the request came with."""
        return cast(Account, self.request.user)


class GenerateView(ApiView):
    """POST /v1/generate."""

    def post(self, request: Request) -> HttpResponseBase:
        """Holds the price, queues the generation, and leaves the waiting to the waiting room."""
        check_body(request)
        fields = GenerateSerializer(data=request.data)
        fields.is_valid(raise_exception=True)
        generation, replayed = create_generation.create(
            account_id=self.account.pk,
            fields=fields.validated_data,
            idempotency_key=_idempotency_key(request),
        )
        parked = PendingGenerationResponse(
            account_id=self.account.pk,
            generation_id=generation.pk,
            # A retry may find what has ended already.
            deadline=time.monotonic() + (settings.SYNC_WAIT_SECONDS if generation.is_open else 0),
            build=partial(generation_response.build, generation_id=generation.pk),
        )
        if replayed:
            parked["Idempotent-Replayed"] = "true"
        return parked


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _IDEMPOTENCY_KEY.fullmatch(key):
        raise errors.InvalidIdempotencyKey
    return key


class ImageView(ApiView):
    """GET /v1/images/{token}."""

    @method_decorator(csp({"default-src": [NONE], "sandbox": True}))
    def get(self, request: Request, token: str) -> HttpResponse:
        """The image's bytes, once there is room for them: 404 for a token of nothing, 403 for another account's image,
        410 past its time.
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
        return DeferredResponse(account_id=self.account.pk, build=partial(_image_reply, generation.image))


def _image_reply(image: StoredImage) -> HttpResponse:
    try:
        content = images.load(image=image)
    except images.ObjectMissing:
        raise  # The store has lost what it must still have: that is our error, not its expiry.
    except images.ImageGone:
        raise errors.ImageExpired from None
    return HttpResponse(content, content_type=image.mime_type)


class BalanceView(ApiView):
    """GET /v1/balance."""

    def get(self, request: Request) -> Response:
        """What is left, what was spent, what is held."""
        return Response(response_bodies.balance_reply(self.account))


class HistoryView(ApiView):
    """GET /v1/generations."""

    def get(self, request: Request) -> Response:
        """One page of the account's generations, newest first."""
        query = PageSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        limit, offset = query.validated_data["limit"], query.validated_data["offset"]
        # Every generation has one hold, which the account counts.
        total = self.account.hold_count
        rows = queries.page(account_id=self.account.pk, total=total, limit=limit, offset=offset)
        return Response(response_bodies.history_reply(rows, total, limit, offset))
