"""The reply to a client that waited: made from generations that ended, or that took too long."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from django.http import HttpResponse
from django.utils import timezone

from billing.models import Account
from billing.money import format_usd
from storage import images
from workers import error_redaction, moderation
from workers.lifecycle import cancellation, error_codes, generations, queries
from workers.messaging import counters
from workers.models import Generation, Status
from zekron_api.endpoints import response_bodies
from zekron_api.http import errors

log = logging.getLogger(__name__)

_ENDED: Final[dict[str, type[errors.WithoutImage]]] = {
    cancellation.GENERATION_CANCELLED: errors.GenerationCancelled,
    cancellation.QUEUE_TTL_EXCEEDED: errors.QueueTtlExceeded,
    moderation.CONTENT_POLICY_VIOLATION: errors.PictureRefused,
}

_MESSAGES: Final[dict[type[errors.WithoutImage], str]] = {
    errors.GenerationFailed: "Image generation failed. Nothing was charged. Try again.",
    errors.ServiceBusy: errors.BUSY,
    errors.PictureRefused: "The content policy of this service refuses the picture of generation {id}. Nothing was "
    "charged. Change the prompt or the images.",
    errors.StateUnavailable: "The service is temporarily unavailable. Generation {id} was accepted. "
    "Get it later from GET /v1/generations/{id}.",
    errors.GenerationTimeout: "Generation {id} is not finished yet. Get it from GET /v1/generations/{id}. "
    "Do not send the request again: that would be another image.",
    errors.QueueTtlExceeded: "No worker began generation {id} within its queue_ttl. Nothing was charged.",
    errors.GenerationCancelled: "Generation {id} was cancelled. Nothing was charged.",
    errors.ImageUnreachable: "Generation {id} is completed and charged, but its image is temporarily unavailable. "
    "Get it later from GET /v1/generations/{id}.",
}


class Made(NamedTuple):
    """The generations of a request that are completed, at least one, and the number of the others, which are free."""

    completed: Sequence[Generation]
    failed_count: int

    @property
    def account(self) -> Account:
        """The account, which is read with each row. The last reading has seen every charge."""
        return self.completed[-1].account

    def add_cost(self, reply: HttpResponse) -> HttpResponse:
        """Add the headers with the cost of all images and the balance, and return the reply."""
        reply["X-Zekron-Cost"] = format_usd(sum(each.cost_micros or 0 for each in self.completed))
        reply["X-Zekron-Remaining-Balance"] = format_usd(self.account.balance_micros)
        return reply


def build(*, generation_id: int) -> HttpResponse:
    """Return the reply for the state of the rows of a request, whose first generation has this id.

    Raises the exceptions of `find_made`, and those of `load`.
    """
    return build_with(_reply, generation_id=generation_id)


def build_with(write: Callable[[Made], HttpResponse], *, generation_id: int) -> HttpResponse:
    """Return the reply as in `build`, in the form that `write` gives it."""
    try:
        return write(find_made(generation_id=generation_id))
    except errors.DATABASE_UNAVAILABLE as cause:
        raise state_unavailable(generation_id=generation_id) from cause


def state_unavailable(*, generation_id: int) -> errors.WithoutImage:
    """Return the error of an accepted generation whose row cannot be read.

    The general message asks to send the request again. Without an Idempotency-Key the client would pay twice.
    """
    code = error_codes.new_code(error_type="service_unavailable")
    return error(errors.StateUnavailable, generation_ids=[generation_id], code=code)


def error(
    kind: type[errors.WithoutImage], *, generation_ids: Sequence[int], code: str
) -> errors.WithoutImage:
    """Return an error of this kind, with its message for clients."""
    return kind(_MESSAGES[kind].format(id=generation_ids[0]), code=code, generation_ids=generation_ids)


def find_made(*, generation_id: int) -> Made:
    """Return what a request made, whose first generation has this id.

    Cancels synchronous generations that are still queued, because nobody waits for them any longer and nobody shall pay
    for them. Raises GenerationFailed, ServiceBusy, GenerationTimeout or another WithoutImage if there is no image.
    """
    first = queries.get(generation_id=generation_id)
    others = [each.pk for each in queries.list_group(first) if each.pk != first.pk]
    group = [
        _cancel_queued(each) for each in (first, *(queries.get(generation_id=other) for other in others))
    ]
    ids = [generation.pk for generation in group]
    if any(generation.is_open for generation in group):
        code = error_codes.new_code(error_type="generation_timeout")
        raise error(errors.GenerationTimeout, generation_ids=ids, code=code)
    if completed := [generation for generation in group if generation.status == Status.COMPLETED]:
        return Made(completed, len(group) - len(completed))
    ended = group[0]
    other = errors.GenerationFailed if ended.status == Status.FAILED else errors.ServiceBusy
    kind = _ENDED.get(ended.error_type, other)
    raise error(kind, generation_ids=ids, code=ended.error_code)


def _reply(made: Made) -> HttpResponse:
    images_made = [(generation, load(generation)) for generation in made.completed]
    if made.completed[0].group_id is None:
        body = response_bodies.generation_body(*images_made[0], made.account)
    else:
        body = response_bodies.group_body(images_made, made.account, failed_count=made.failed_count)
    return made.add_cost(HttpResponse(body, content_type="application/json"))


def is_expired(generation: Generation) -> bool:
    """Return whether the generation has an image no longer: a request under its key may come after its deletion."""
    return generation.expires_at is not None and generation.expires_at <= timezone.now()


def load(generation: Generation) -> bytes:
    """Return the bytes of a completed generation's image. Raise ImageUnreachable, or ImageExpired."""
    assert generation.image is not None
    try:
        return images.load(image=generation.image)
    except (OSError, images.ImageUnreadable, images.ObjectMissing) as cause:
        # The general message for internal errors asks to send the request again. The client would pay twice.
        raise unreachable(generation, cause) from cause
    except images.ImageGone:
        # A request that is sent again under its key may come after the image was deleted.
        raise errors.ImageExpired from None


def _cancel_queued(generation: Generation) -> Generation:
    """Cancel a synchronous generation that is queued, unless a worker was faster. Return the row as it is then."""
    if generation.status != Status.QUEUED or generation.is_async:
        return generation
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
    return error(errors.ImageUnreachable, generation_ids=[generation.pk], code=code)
