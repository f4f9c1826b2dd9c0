"""The endpoints of one generation of the account: it is read, watched or deleted."""

import time
from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.utils import timezone
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from billing.grants import Scope
from workers.lifecycle import deletion, watching
from workers.models import Generation
from zekron_api.endpoints import generation_events, generation_object
from zekron_api.endpoints.generation_events import IncludeField
from zekron_api.endpoints.serializers import WholeNumberField
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors, rate_limit
from zekron_api.waiting.deferred_response import DeferredResponse, PendingGenerationResponse

MAX_WAIT_SECONDS: Final = 60


class PollSerializer(Serializer[Any]):
    """The query of GET /v1/generations/{id}."""

    wait = WholeNumberField(
        nothing=0,
        least=0,
        most=MAX_WAIT_SECONDS,
        help_text="The seconds to wait for the end. The reply is sent at the end, or after this time. "
        f"A number above {MAX_WAIT_SECONDS} counts as {MAX_WAIT_SECONDS}.",
    )
    include = IncludeField(help_text="`b64_json` adds the image's bytes to the reply.")


class OwnGenerationView(ApiView):
    """Base of the views of one generation of the account."""

    def find(self, generation_id: str) -> Generation:
        """Return the account's generation. A foreign id is not found, because ids are counted up."""
        try:
            return watching.find(account_id=self.account.pk, generation_id=generation_id)
        except Generation.DoesNotExist:
            raise exceptions.NotFound from None

    def find_picture(self, generation_id: str) -> Generation:
        """Return the generation with its picture. Raises NotFound without one, and ImageExpired."""
        generation = self.find(generation_id)
        if generation.image is None or generation.expires_at is None:
            raise exceptions.NotFound
        if generation.expires_at <= timezone.now() or generation.image.wrapped_key is None:
            raise errors.ImageExpired
        return generation


class GenerationView(OwnGenerationView):
    """The endpoints GET and DELETE /v1/generations/{id}. Reading has the limit of polls."""

    scopes = {"GET": Scope.READ, "DELETE": Scope.DELETE}

    @property
    def rate_scope(self) -> rate_limit.Scope:  # type: ignore[override] # it depends on the method here
        """The limit in which the request counts."""
        is_deletion = self.request.method == "DELETE"
        return rate_limit.Scope.REQUESTS if is_deletion else rate_limit.Scope.POLLS

    def get(self, request: Request, generation_id: str) -> HttpResponseBase:
        """Return the generation, at once or when it has ended, but no later than asked."""
        query = PollSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        wait_seconds, with_content = query.validated_data["wait"], query.validated_data["include"]
        generation = self.find(generation_id)
        build = partial(
            generation_object.reply,
            account_id=self.account.pk,
            generation_id=generation.pk,
            with_content=with_content,
        )
        if wait_seconds and generation.is_open:
            return PendingGenerationResponse(
                account_id=self.account.pk,
                generation_ids=[generation.pk],
                deadline=time.monotonic() + wait_seconds,
                build=build,
            )
        if with_content:
            return DeferredResponse(account_id=self.account.pk, build=build)
        return build()

    def delete(self, request: Request, generation_id: str) -> HttpResponse:
        """Delete the image, the prompt and the parameters. The row and its cost stay in the history."""
        generation = self.find(generation_id)
        try:
            deletion.delete_generation(generation_id=generation.pk)
        except deletion.StillOpen:
            raise errors.StillOpen from None
        return HttpResponse(status=204)


class EventsView(OwnGenerationView):
    """The endpoint GET /v1/generations/{id}/events."""

    scopes = {"GET": Scope.READ}
    rate_scope = rate_limit.Scope.POLLS

    def get(self, request: Request, generation_id: str) -> HttpResponseBase:
        """Return a stream of the generation's events, or 204 to a client that knows the last one already."""
        with_content = generation_events.read_query(request)
        return generation_events.respond(request, self.find(generation_id), with_content=with_content)

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Forbid caches to keep the stream."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response
