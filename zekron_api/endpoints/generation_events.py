"""The reply that streams the events of a generation, to a client that watches it or has just asked for it."""

from functools import partial
from typing import Any, Final

from django.http import HttpResponse
from drf_spectacular.drainage import set_override
from rest_framework.request import Request
from rest_framework.serializers import Serializer

from workers.lifecycle import watching
from workers.messaging import progress_events
from workers.models import Generation, Status
from zekron_api.endpoints import generation_object, partial_image_event
from zekron_api.endpoints.fields import CheckedField
from zekron_api.http import errors
from zekron_api.http.errors import InvalidField
from zekron_api.waiting.event_stream import HAS_STREAM_PLACE, Asker, EventStreamResponse, Watched

_BYTES: Final = "b64_json"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"


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
    """The query of a request for events."""

    include = IncludeField(help_text="`b64_json` adds the image's bytes to the last event.")


def are_wanted(request: Request) -> bool:
    """Return whether the header Accept names events and does not prefer JSON. A wildcard means JSON."""
    is_named = any(accepted.match(_EVENTS) for accepted in request.accepted_types if accepted.specificity > 1)
    return is_named and request.get_preferred_type([_JSON, _EVENTS]) == _EVENTS


def read_query(request: Request) -> bool:
    """Return whether the query asks for the image's bytes in the last event."""
    query = EventsSerializer(data=request.query_params.dict())
    query.is_valid(raise_exception=True)
    with_content: bool = query.validated_data["include"]
    return with_content


def refuse_without_place(request: Request, *, account_id: int) -> None:
    """Raise TooManyStreams if the account has as many streams as it may, before it pays for another one."""
    has_place = getattr(request, HAS_STREAM_PLACE, None)
    if has_place is not None and not has_place(account_id):
        raise errors.TooManyStreams


def respond(
    request: Request,
    generation: Generation,
    *,
    with_content: bool,
    asker: Asker | None = None,
) -> HttpResponse:
    """Return a stream of the generation's events, or 204 to a client that knows the last one already.

    `asker` is the client that asked for the generation, if this is its reply.
    """
    state = watching.state_of(generation)
    if not state.is_open and request.headers.get("Last-Event-ID", "").strip() == str(state.version):
        # A client of the HTML standard connects again after the end, and 204 is the one reply that stops it.
        return HttpResponse(status=204)
    is_running = state.status == Status.RUNNING
    account_id = generation.account_id
    watched = Watched(
        state,
        progress_events.read(generation_id=generation.pk) if is_running else None,
        build_end=partial(
            generation_object.build_end,
            account_id=account_id,
            generation_id=generation.pk,
            with_content=with_content,
        ),
        partial_count=partial_image_event.count_of(generation),
        build_partial=partial(partial_image_event.build, account_id=account_id, generation_id=generation.pk),
    )
    return EventStreamResponse(account_id=account_id, watched=[watched], asker=asker)
