"""The reply to a client that does not wait: where to find its generation, unless it has ended meanwhile."""

from typing import Final

from django.http import HttpResponse

from workers.lifecycle import queries
from zekron_api.endpoints import generation_object, generation_response
from zekron_api.http import errors

# The time after which a client should ask again: the predicted one within these bounds.
MIN_RETRY_SECONDS: Final = 1
MAX_RETRY_SECONDS: Final = 60


def build(*, generation_id: int, is_always_object: bool = False) -> HttpResponse:
    """Return 202 with the first generation while one is open, and afterwards the reply that a waiting client gets.

    With `is_always_object` it is the first generation then, too. Raise StateUnavailable, or an error of
    `generation_response.build`.
    """
    try:
        return _build(generation_id, is_always_object)
    except errors.DATABASE_UNAVAILABLE as cause:
        raise generation_response.state_unavailable(generation_id=generation_id) from cause


def _build(generation_id: int, is_always_object: bool) -> HttpResponse:
    generation = queries.get(generation_id=generation_id)
    has_ended = not any(each.is_open for each in queries.list_group(generation))
    if has_ended and not is_always_object:
        return generation_response.build(generation_id=generation_id)
    described = generation_object.describe(generation)
    reply = generation_object.reply_with(described)
    if has_ended:
        return reply
    reply.status_code = 202
    reply["Location"] = f"/v1/generations/{generation_id}"
    seconds = described.place.eta_seconds if described.place else None
    reply["Retry-After"] = str(min(max(seconds or 0, MIN_RETRY_SECONDS), MAX_RETRY_SECONDS))
    return reply
