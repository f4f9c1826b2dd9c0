"""The reply to a client that waited: made from a generation that ended, or that took too long."""

import logging
from contextlib import suppress
from typing import Final

from django.http import HttpResponse

from storage import images
from workers import error_redaction
from workers.lifecycle import cancellation, error_codes, generations, queries
from workers.messaging import counters
from workers.models import Generation, Status
from zekron_api.endpoints import response_bodies
from zekron_api.http import errors

log = logging.getLogger(__name__)

_CANCELLED: Final[dict[str, type[errors.WithoutImage]]] = {
    cancellation.GENERATION_CANCELLED: errors.GenerationCancelled,
    cancellation.QUEUE_TTL_EXCEEDED: errors.QueueTtlExceeded,
}

_MESSAGES: Final[dict[type[errors.WithoutImage], str]] = {
    errors.GenerationFailed: "Image generation failed. Nothing was charged. Try again.",
    errors.ServiceBusy: errors.BUSY,
    errors.StateUnavailable: "The service is temporarily unavailable. Generation {id} was accepted. "
    "Get it later from GET /v1/generations/{id}.",
    errors.GenerationTimeout: "Generation {id} is not finished yet. Get it from GET /v1/generations/{id}. "
    "Do not send the request again: that would be another image.",
    errors.QueueTtlExceeded: "No worker began generation {id} within its queue_ttl. Nothing was charged.",
    errors.GenerationCancelled: "Generation {id} was cancelled. Nothing was charged.",
    errors.ImageUnreachable: "Generation {id} is completed and charged, but its image is temporarily unavailable. "
    "Get it later from GET /v1/generations/{id}.",
}


def build(*, generation_id: int) -> HttpResponse:
    """Return the reply for the state of the generation's row.

    Cancels a synchronous generation that is still queued, because nobody waits for it any longer and nobody shall pay
    for it.
    Raises GenerationFailed, ServiceBusy, GenerationTimeout, ImageUnreachable or StateUnavailable when there is no image
    to send.
    """
    try:
        return _build(generation_id)
    except errors.DATABASE_UNAVAILABLE as cause:
        # The general message asks to send the request again. Without an Idempotency-Key the client would pay twice.
        code = error_codes.new_code(error_type="service_unavailable")
        raise error(errors.StateUnavailable, generation_id=generation_id, code=code) from cause


def error(kind: type[errors.WithoutImage], *, generation_id: int, code: str) -> errors.WithoutImage:
    """Return an error of this kind, with its message for clients."""
    return kind(_MESSAGES[kind].format(id=generation_id), code=code, generation_id=generation_id)


def _build(generation_id: int) -> HttpResponse:
    generation = queries.get(generation_id=generation_id)
    if generation.status == Status.QUEUED and not generation.is_async:
        generation = _cancel(generation)
    match generation.status:
        case Status.COMPLETED:
            return _completed(generation)
        case Status.FAILED:
            raise error(errors.GenerationFailed, generation_id=generation.pk, code=generation.error_code)
        case Status.CANCELLED:
            kind = _CANCELLED.get(generation.error_type, errors.ServiceBusy)
            raise error(kind, generation_id=generation.pk, code=generation.error_code)
    code = error_codes.new_code(error_type="generation_timeout")
    raise error(errors.GenerationTimeout, generation_id=generation.pk, code=code)


def _completed(generation: Generation) -> HttpResponse:
    assert generation.image is not None
    try:
        content = images.load(image=generation.image)
    except (OSError, images.ImageUnreadable, images.ObjectMissing) as cause:
        # The general message for internal errors asks to send the request again. The client would pay twice.
        raise unreachable(generation, cause) from cause
    except images.ImageGone:
        # A request that is sent again under its key may come after the image was deleted.
        raise errors.ImageExpired from None
    body = response_bodies.generation_body(generation, content, generation.account)
    return HttpResponse(body, content_type="application/json")


def _cancel(generation: Generation) -> Generation:
    """Cancel the generation, unless a worker was faster. Return the row as it is afterwards."""
    code = error_codes.new_code(error_type="service_busy")
    # A worker that has just claimed the generation finishes it. The row that is read next says so.
    with suppress(generations.NotQueued):
        generations.cancel(
            generation=generation,
            error_type="service_busy",
            error_code=code,
            detail="no worker claimed it before its client stopped waiting",
        )
    return queries.get(generation_id=generation.pk)


def unreachable(generation: Generation, cause: Exception) -> errors.WithoutImage:
    """Return the error of an image that storage does not give, and log and count the cause."""
    if not isinstance(cause, OSError):
        counters.count_unreadable_image()
    code = error_codes.new_code(error_type="image_unreachable")
    log.error(
        "%s generation %s: its image cannot be read: %s",
        code,
        generation.pk,
        error_redaction.summarise(cause),
    )
    return error(errors.ImageUnreachable, generation_id=generation.pk, code=code)
