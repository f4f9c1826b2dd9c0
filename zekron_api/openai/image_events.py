"""The server-sent events of OpenAI's API: partial images, then each image, or an error.

Clients of OpenAI take any event whose data has `error` for the end, so a failed image beside others is left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import orjson

from workers.lifecycle import queries, watching
from workers.messaging import partial_images
from workers.models import Generation, Kind, Status
from zekron_api.endpoints import generation_response, partial_image_event, response_bodies
from zekron_api.endpoints.parameter_fields import QUALITY
from zekron_api.endpoints.reply_fields import image_url_of, utc
from zekron_api.http import errors, openai_errors
from zekron_api.openai import image_response
from zekron_api.openai.usage import UsageSerializer, usage_of
from zekron_api.waiting.event_stream import SILENT_END, Asker, Event, EventStreamResponse, Watched

# The first part of an event's name.
_NAMES: Final[dict[str, str]] = {Kind.CREATE: "image_generation", Kind.EDIT: "image_edit"}
_PARTIAL_FORMAT: Final = partial_images.MIME_TYPE.removeprefix("image/")
_USAGE: Final = UsageSerializer()


def respond(generations: Sequence[Generation], *, asker: Asker) -> EventStreamResponse:
    """Return the stream of the images of a request, all of whose generations these are."""
    first = generations[0]
    return EventStreamResponse(
        account_id=first.account_id,
        watched=[_watch(generation) for generation in generations],
        asker=asker,
        tells_progress=False,
        build_last=partial(_build_last, generation_id=first.pk),
    )


def _watch(generation: Generation) -> Watched:
    return Watched(
        watching.state_of(generation),
        None,
        build_end=partial(_build_end, generation_id=generation.pk),
        partial_count=partial_image_event.count_of(generation),
        build_partial=partial(_build_partial, account_id=generation.account_id, generation_id=generation.pk),
    )


def _build_partial(index: int, *, account_id: int, generation_id: int) -> Event | None:
    found = partial_image_event.find(index, account_id=account_id, generation_id=generation_id)
    if found is None:
        return None
    generation, image = found
    name = f"{_NAMES[generation.kind]}.partial_image"
    data = {
        **_describe(generation, name, output_format=_PARTIAL_FORMAT),
        "partial_image_index": image.number,
    }
    return _event(name, data, image.content)


def _build_end(*, generation_id: int) -> Event | None:
    """Return the event of a completed image, or None while it is open."""
    generation = queries.get(generation_id=generation_id)
    if generation.is_open:
        return None
    if generation.status != Status.COMPLETED:
        return SILENT_END
    try:
        content = generation_response.load(generation)
    except (errors.ImageUnreachable, errors.ImageExpired) as error:
        return _error(error)
    name = f"{_NAMES[generation.kind]}.completed"
    assert generation.expires_at is not None
    data = {
        **_describe(generation, name, output_format=image_response.format_of(generation)),
        "usage": _USAGE.to_representation(usage_of([generation])),
        "id": generation.pk,
        "url": image_url_of(generation),
        "seed": generation.parameters.get("seed"),
        "expires_at": utc(generation.expires_at),
    }
    return _event(name, data, content)


def _build_last(*, generation_id: int) -> Event | None:
    """Return the error of a request without any image, whose first generation has this id. Else return None."""
    try:
        generation_response.find_made(generation_id=generation_id)
    except Exception as error:  # noqa: BLE001 (the stream must tell every error)
        return _error(error)
    return None


def _describe(generation: Generation, name: str, *, output_format: str) -> dict[str, Any]:
    """Return what events of both kinds have. Only those of a request for several images have an index."""
    return {
        "type": name,
        "b64_json": response_bodies.PLACEHOLDER_TEXT,
        "created_at": int(generation.created_at.timestamp()),
        "size": generation.size,
        "quality": QUALITY,
        "background": "opaque",
        "output_format": output_format,
        **({} if generation.group_id is None else {"image_index": generation.group_index}),
    }


def _event(name: str, data: dict[str, Any], content: bytes) -> Event:
    return Event(name, None, response_bodies.put_images(orjson.dumps(data), [content]))


def _error(error: Exception) -> Event:
    described = openai_errors.describe(errors.reply_to(error))
    return Event("error", None, orjson.dumps({"error": described}))
