"""The endpoint POST /v1/generate: the client waits for its image, or is told where to find it."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from django.conf import settings
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.request import Request

from billing.grants import Scope
from workers.models import Generation
from zekron_api.endpoints import (
    accepted_response,
    generation_events,
    generation_response,
    preferences,
    submission,
)
from zekron_api.endpoints.create_generation import Created
from zekron_api.endpoints.serializers import DEFAULT_QUEUE_TTL_SECONDS, GenerateSerializer
from zekron_api.endpoints.views import ApiView
from zekron_api.http import errors
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body
from zekron_api.waiting.deferred_response import PendingGenerationResponse
from zekron_api.waiting.event_stream import Asker

OnLost = Callable[[], None] | None


class _Wish(NamedTuple):
    """The way in which the client wants its reply. `applied` is the value of Preference-Applied.

    `with_content` is for a client that wants events: whether the last one has the image's bytes.
    """

    queue_seconds: int | None
    wait_seconds: int
    applied: str
    wants_events: bool
    with_content: bool

    @property
    def is_async(self) -> bool:
        return self.queue_seconds is not None


class GenerateView(ApiView):
    """The endpoint POST /v1/generate."""

    scopes = {"POST": Scope.GENERATE}
    # Whether an asynchronous request that finds its generation ended gets the generation, and not the image.
    is_always_object = False

    def post(self, request: Request) -> HttpResponseBase:
        """Reserve the price, queue the generation, and return a reply that the waiting room completes later."""
        fields = read_body(request, GenerateSerializer)
        wish = _read_wish(request, fields)
        if wish.wants_events:
            _refuse_several(fields)
            generation_events.refuse_without_place(request, account_id=self.account.pk)
        accepted = submission.accept(
            request,
            account=self.account,
            fields=fields,
            queue_seconds=wish.queue_seconds,
            is_waited_for=wish.wants_events or not wish.is_async,
        )
        if wish.wants_events and not generation_response.is_expired(accepted.created.generation):
            response = self._stream(accepted.created.generation, wish, accepted.on_lost)
        else:
            response = self._wait(accepted.created, wish, accepted.on_lost)
        if wish.applied:
            response["Preference-Applied"] = wish.applied
        accepted.mark(response)
        return response

    def _wait(self, created: Created, wish: _Wish, on_lost: OnLost) -> HttpResponse:
        """Return the reply for which the client waits."""
        return PendingGenerationResponse(
            account_id=self.account.pk,
            generation_ids=[each.pk for each in created.generations],
            # A retry may find generations that have already ended.
            deadline=time.monotonic() + (wish.wait_seconds if created.is_open else 0),
            build=self._build_of(wish, generation_id=created.generation.pk),
            on_lost=on_lost,
        )

    def _build_of(self, wish: _Wish, *, generation_id: int) -> Callable[[], HttpResponse]:
        if not wish.is_async:
            return partial(generation_response.build, generation_id=generation_id)
        return partial(
            accepted_response.build, generation_id=generation_id, is_always_object=self.is_always_object
        )

    def _stream(self, generation: Generation, wish: _Wish, on_lost: OnLost) -> HttpResponse:
        """Return the events of the generation. Its place was asked for before it was made."""
        try:
            response = generation_events.respond(
                self.request,
                generation,
                with_content=wish.with_content,
                asker=Asker(stays_until=time.monotonic() + wish.wait_seconds, on_lost=on_lost),
            )
        except errors.DATABASE_UNAVAILABLE as cause:
            raise generation_response.state_unavailable(generation_id=generation.pk) from cause
        response["Location"] = f"/v1/generations/{generation.pk}"
        return response


def _read_wish(request: Request, fields: dict[str, Any]) -> _Wish:
    """Return the wish of the body and the header. The body wins, because a proxy may take the header away."""
    preference = preferences.read(request.headers.get("Prefer", ""))
    is_async = preference.respond_async if fields["async"] is None else fields["async"]
    queue_seconds: int | None = fields["queue_ttl"]
    if queue_seconds is not None and not is_async:
        message = "queue_ttl is for asynchronous requests. Send async: true with it, or leave it out."
        raise InvalidField("invalid_parameter", message)
    applied = ["respond-async"] if is_async and preference.respond_async else []
    wait_seconds = 0 if is_async else settings.SYNC_WAIT_SECONDS
    wants_events = generation_events.are_wanted(request)
    if preference.wait_seconds is not None and not wants_events:
        least_seconds = 0 if is_async else 1
        wait_seconds = min(max(preference.wait_seconds, least_seconds), settings.SYNC_WAIT_SECONDS)
        applied.append(f"wait={wait_seconds}")
    if is_async and queue_seconds is None:
        queue_seconds = DEFAULT_QUEUE_TTL_SECONDS
    with_content = generation_events.read_query(request)
    return _Wish(queue_seconds, wait_seconds, ", ".join(applied), wants_events, with_content)


def _refuse_several(fields: dict[str, Any]) -> None:
    """Raise InvalidField for several images, because a stream has the events of one."""
    if fields["n"] > 1:
        message = (
            "n must be 1 for a reply of events. Send async: true, and watch each generation of its group."
        )
        raise InvalidField("invalid_parameter", message)
