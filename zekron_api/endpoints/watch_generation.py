"""The endpoints of one generation of the account: it is read, watched or deleted."""

import time
from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.drainage import set_override
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workers.lifecycle import deletion, watching
from workers.messaging import progress_events
from workers.models import Generation, Status
from zekron_api.endpoints import generation_object, partial_image_event
from zekron_api.endpoints.fields import CheckedField
from zekron_api.endpoints.serializers import WholeNumberField
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors, rate_limit
from zekron_api.http.errors import InvalidField
from zekron_api.waiting.deferred_response import DeferredResponse, PendingGenerationResponse
from zekron_api.waiting.event_stream import EventStreamResponse

MAX_WAIT_SECONDS: Final = 60
_BYTES: Final = "b64_json"


class IncludeField(CheckedField):
    """The part of a generation that is sent only to those who ask for it."""

    def __init__(self, *, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        set_override(self, "field", {"type": "string", "enum": [_BYTES]})

    def checked(self, value: object) -> bool:
        """Return whether the bytes are asked for."""
        if value not in (None, _BYTES):
            raise InvalidField("invalid_parameter", f"{self.field_name} must be {_BYTES}, or be left out.")
        return value is not None


class EventsSerializer(Serializer[Any]):
    """The query of GET /v1/generations/{id}/events."""

    include = IncludeField(help_text="`b64_json` adds the image's bytes to the last event.")


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


class GenerationView(OwnGenerationView):
    """The endpoints GET and DELETE /v1/generations/{id}. Reading has the limit of polls."""

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

    rate_scope = rate_limit.Scope.POLLS

    def get(self, request: Request, generation_id: str) -> HttpResponseBase:
        """Return a stream of the generation's events, or 204 to a client that knows the last one already."""
        query = EventsSerializer(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        generation = self.find(generation_id)
        state = watching.state_of(generation)
        if not state.is_open and request.headers.get("Last-Event-ID", "").strip() == str(state.version):
            # A client of the HTML standard connects again after the end, and 204 is the one reply that stops it.
            return HttpResponse(status=204)
        is_running = state.status == Status.RUNNING
        return EventStreamResponse(
            account_id=self.account.pk,
            state=state,
            step=progress_events.read(generation_id=generation.pk) if is_running else None,
            build_end=partial(
                generation_object.build_end,
                account_id=self.account.pk,
                generation_id=generation.pk,
                with_content=query.validated_data["include"],
            ),
            partial_count=partial_image_event.count_of(generation),
            build_partial=partial(
                partial_image_event.build, account_id=self.account.pk, generation_id=generation.pk
            ),
        )

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Forbid caches to keep the stream."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response
