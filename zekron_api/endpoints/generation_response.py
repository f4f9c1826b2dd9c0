"""From a generation that has ended, or that was waited for long enough, to the reply of the client that waits."""

import logging
from contextlib import suppress

from django.http import HttpResponse

from storage import images
from workers import error_redaction
from workers.lifecycle import error_codes, generations, queries
from workers.messaging import counters
from workers.models import Generation, Status
from zekron_api.endpoints import response_bodies
from zekron_api.http import errors

log = logging.getLogger(__name__)


def build(*, generation_id: int) -> HttpResponse:
    """The reply by the row's state. What is still queued is cancelled first: nobody pays for what nobody awaits.

    Raises GenerationFailed, ServiceBusy, GenerationTimeout or ImageUnreachable when there is no image.
    """
    generation = queries.get(generation_id=generation_id)
    if generation.status == Status.QUEUED:
        generation = _cancelled(generation)
    if generation.status == Status.COMPLETED:
        return _completed(generation)
    raise _without_image(generation)


def _completed(generation: Generation) -> HttpResponse:
    assert generation.image is not None
    try:
        content = images.load(image=generation.image)
    except (OSError, images.ImageUnreadable, images.ObjectMissing) as error:
        # To send it again without a key, as other errors of ours ask for, would be paid a second time.
        raise _unreachable(generation, error) from error
    body = response_bodies.generation_body(generation, content, generation.account)
    return HttpResponse(body, content_type="application/json")


def _cancelled(generation: Generation) -> Generation:
    """Cancels it, unless a worker was faster; either way the row as it is now."""
    code = error_codes.new_code(error_type="service_busy")
    # A worker that has just taken it finishes and keeps it, which the fresh row says.
    with suppress(generations.NotQueued):
        generations.cancel(generation=generation, error_type="service_busy", error_code=code)
    return queries.get(generation_id=generation.pk)


def _unreachable(generation: Generation, error: Exception) -> errors.WithoutImage:
    if not isinstance(error, OSError):
        counters.count_unreadable_image()
    code = error_codes.new_code(error_type="image_unreachable")
    log.error(
        "%s generation %s: its image cannot be read: %s", code, generation.pk, error_redaction.summary(error)
    )
    message = (
        f"Generation {generation.pk} is completed and charged, but its image cannot be read at this moment."
        " It is in GET /v1/generations."
    )
    return errors.ImageUnreachable(message, code=code, generation_id=generation.pk)


def _without_image(generation: Generation) -> errors.WithoutImage:
    if generation.status == Status.FAILED:
        message = "Image generation failed; nothing was charged. Try again."
        return errors.GenerationFailed(message, code=generation.error_code, generation_id=generation.pk)
    if generation.status == Status.CANCELLED:
        message = "The service is busy; nothing was charged. Try again later."
        return errors.ServiceBusy(message, code=generation.error_code, generation_id=generation.pk)
    message = f"Generation {generation.pk} is still running; its image will appear in GET /v1/generations."
    code = error_codes.new_code(error_type="generation_timeout")
    return errors.GenerationTimeout(message, code=code, generation_id=generation.pk)
