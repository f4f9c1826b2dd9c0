"""The generation object: how replies and events tell one generation, open or ended. It is made from the row.

The step and the place in the queue are added to it, because no row has them.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import orjson
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.fields import BooleanField, CharField, IntegerField
from rest_framework.serializers import Serializer

from storage import images
from workers import moderation
from workers.imaging.encoders import MIME_TYPES, Encoding, OutputFormat
from workers.lifecycle import cancellation, queries, watching
from workers.lifecycle.queue_position import Place
from workers.messaging import progress_events
from workers.messaging.progress_events import Step
from workers.models import GENERATION_FAILED, Generation, Kind, Status
from zekron_api.endpoints import generation_response, response_bodies
from zekron_api.endpoints.parameter_fields import QUALITY
from zekron_api.endpoints.reply_fields import (
    ReplyField,
    base64_field,
    choice,
    constant,
    metadata_field,
    prompt_tokens_read_field,
    prompt_truncated_field,
    seed_field,
    time_field,
    token_field,
    url_field,
    usd_field,
)
from zekron_api.http import errors
from zekron_api.waiting.event_stream import Event

_MESSAGES: Final = {
    GENERATION_FAILED: "Image generation failed. Nothing was charged. Try again.",
    "service_busy": errors.BUSY,
    cancellation.GENERATION_CANCELLED: "The generation was cancelled. Nothing was charged.",
    moderation.CONTENT_POLICY_VIOLATION: "The content policy of this service refuses the picture. Nothing was charged.",
    cancellation.QUEUE_TTL_EXCEEDED: "No worker began within its queue_ttl. Nothing was charged. Try again later.",
}
# The kinds of mark that the file of an image may have.
MARKS: Final = ("xmp", "c2pa")
_ENDED_WITHOUT_IMAGE: Final = "The generation ended without an image. Nothing was charged."


def error_message(generation: Generation) -> str:
    """Return a sentence that says why the generation ended without an image."""
    return _MESSAGES.get(generation.error_type, _ENDED_WITHOUT_IMAGE)


class Described(NamedTuple):
    """A generation with its image's row, and what is known of it beside the row."""

    generation: Generation
    place: Place | None = None
    step: Step | None = None
    has_content: bool = False
    group_ids: Sequence[int] = ()

    @property
    def image(self) -> dict[str, object] | None:
        """The image, once the generation is completed. Its bytes are added to the written reply."""
        if self.generation.status != Status.COMPLETED:
            return None
        return {
            "generation": self.generation,
            **({"b64_json": response_bodies.PLACEHOLDER} if self.has_content else {}),
        }

    @property
    def error(self) -> Generation | None:
        """The generation, if it ended without an image."""
        return self.generation if self.generation.status in {Status.FAILED, Status.CANCELLED} else None

    @property
    def is_cancel_requested(self) -> bool:
        """True once its cancellation was asked for while it ran."""
        return self.generation.cancel_requested_at is not None

    @property
    def output_format(self) -> OutputFormat:
        """The format of the image's file, also after the parameters were erased."""
        return Encoding.of(self.generation.parameters).format

    @property
    def reserved_micros(self) -> int:
        """The amount that the generation holds now."""
        return self.generation.quote_micros if self.generation.is_open else 0


def _number(help_text: str, *, least: int = 0, **options: Any) -> ReplyField:
    return ReplyField({"type": "integer", "minimum": least}, lambda number: number, help_text, **options)


class MadeImageSerializer(Serializer[Any]):
    """The image of a completed generation."""

    url = url_field("The image's address. It needs your API key.", source="generation")
    mime_type = choice(MIME_TYPES, source="generation.image.mime_type")
    expires_at = time_field("When the image is deleted, or was.", source="generation.expires_at")
    b64_json = base64_field(
        "The file as base64, if `include=b64_json` asks for it and the image has not expired.", required=False
    )


class GenerationErrorSerializer(Serializer[Any]):
    """The reason for the end of a generation without an image. Nothing was charged."""

    type = CharField(source="error_type", help_text="The kind of error, for programs.")
    message = ReplyField(
        {"type": "string"},
        error_message,
        "A sentence for people.",
        source="*",
    )
    code = CharField(source="error_code", help_text="The name of this one failure, for support.")


class ProgressSerializer(Serializer[Any]):
    """The progress of a running generation. A step counts from its launch on the device."""

    step = _number("The steps that are done.", source="done")
    steps = _number("All steps.", least=1, source="total")
    fraction = ReplyField(
        {"type": "number", "minimum": 0, "maximum": 1},
        lambda step: round(step.done / step.total, 4),
        "`step` divided by `steps`.",
        source="*",
    )


class QueueSerializer(Serializer[Any]):
    """The place of a queued generation."""

    position = _number("The generations of the model that come first, or null above 1,000.", allow_null=True)
    eta_seconds = _number(
        "The predicted seconds until a worker starts, or null while none is there.", allow_null=True
    )


class GenerationObjectSerializer(Serializer[Any]):
    """A generation, open or ended."""

    id = IntegerField(source="generation.pk", min_value=1)
    token = token_field("The name of the image, once it is completed.", source="generation", allow_null=True)
    type = choice(Kind.values, source="generation.kind")
    status = choice(Status.values, source="generation.status")
    model = CharField(source="generation.model")
    prompt = CharField(
        source="generation.prompt", help_text="The prompt, or an empty text after the service has erased it."
    )
    prompt_truncated = prompt_truncated_field(source="generation")
    prompt_tokens_read = prompt_tokens_read_field(source="generation.prompt_tokens_read")
    size = CharField(source="generation.size")
    seed = seed_field(source="generation")
    quality = constant(QUALITY)
    metadata = metadata_field(source="generation")
    group = ReplyField(
        {"type": "array", "items": {"type": "integer", "minimum": 1}},
        list,
        "The ids of all generations of a request for several images, in their order. It is empty for one image.",
        source="group_ids",
    )
    index = ReplyField(
        {"type": ["integer", "null"], "minimum": 0},
        lambda generation: generation.group_index,
        "The place in `group` from 0, or null for one image.",
        source="generation",
    )
    output_format = choice(OutputFormat, help_text="The format of the image's file.")
    provenance = ReplyField(
        {"type": ["string", "null"], "enum": [*MARKS, None]},
        lambda generation: generation.provenance or None,
        "The mark in the file that says that the image was generated, or null without one.",
        source="generation",
    )
    image = MadeImageSerializer(allow_null=True, help_text="The image, once it is completed.")
    cost = usd_field(
        "The amount charged, once it is completed.", source="generation.cost_micros", allow_null=True
    )
    quote = usd_field("The most that is charged.", source="generation.quote_micros")
    reserved = usd_field("The amount held now.", source="reserved_micros")
    error = GenerationErrorSerializer(allow_null=True, help_text="Why it has no image, if it failed.")
    progress = ProgressSerializer(source="step", allow_null=True, help_text="The steps, while it runs.")
    queue = QueueSerializer(source="place", allow_null=True, help_text="The place, while it is queued.")
    cancel_requested = BooleanField(
        source="is_cancel_requested", help_text="Whether its cancellation was asked for while it ran."
    )
    attempts = _number("The attempts that a worker has begun.", source="generation.attempt_count")
    created_at = time_field("When the request was accepted.", source="generation.created_at")
    started_at = time_field("When the first attempt began.", source="generation.started_at", allow_null=True)
    ended_at = time_field("When it ended.", source="generation.ended_at", allow_null=True)


# DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
class GenerationReplySerializer(Serializer[Any]):
    """The reply with a generation."""

    success = constant(True)
    data = GenerationObjectSerializer(source="*")  # type: ignore[assignment]
    created_at = time_field("When the request was accepted.", source="generation.created_at")


# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_OBJECT: Final = GenerationObjectSerializer()
_REPLY: Final = GenerationReplySerializer()


def reply(*, account_id: int, generation_id: int, with_content: bool) -> HttpResponse:
    """Return the reply with the account's generation as its row is now.

    Raise ImageUnreachable if its bytes are asked for and storage does not give them.
    """
    generation = watching.find(account_id=account_id, generation_id=str(generation_id))
    content = _load(generation) if with_content else None
    body = _write(_REPLY, describe(generation, has_content=content is not None), content)
    return HttpResponse(body, content_type="application/json")


def reply_with(described: Described) -> HttpResponse:
    """Return the reply with this generation, without its bytes."""
    return HttpResponse(_write(_REPLY, described, None), content_type="application/json")


def refuse_with(error: Exception, *, generation_id: int) -> HttpResponse:
    """Return the error's reply, with the generation as it is in `data`."""
    reply = errors.reply_to(error)
    described = describe(queries.get(generation_id=generation_id))
    body = {**orjson.loads(reply.content), "data": _OBJECT.to_representation(described)}
    reply.content = orjson.dumps(body)
    return reply


def build_end(*, account_id: int, generation_id: int, with_content: bool) -> Event | None:
    """Return the last event of the account's generation, or None while it is open.

    Its bytes are left out if storage does not give them, because the image's address is there.
    """
    generation = watching.find(account_id=account_id, generation_id=str(generation_id))
    if generation.is_open:
        return None
    try:
        content = _load(generation) if with_content else None
    except errors.ImageUnreachable:
        content = None
    data = _write(_OBJECT, describe(generation, has_content=content is not None), content)
    return Event(generation.status, watching.version_of(generation), data)


def webhook_data(generation: Generation, with_prompt: bool) -> dict[str, object]:
    """Return the generation as webhooks send it: the object of replies, with its version and without its progress.

    The prompt is left out unless the receiver wants it.
    """
    written = _OBJECT.to_representation(Described(generation, group_ids=_group_ids(generation)))
    if not with_prompt:
        del written["prompt"]
    return {**written, "version": watching.version_of(generation)}


def describe(generation: Generation, *, has_content: bool = False) -> Described:
    """Return the generation with its place or its step."""
    step = None
    if generation.status == Status.RUNNING:
        step = progress_events.read(generation_id=generation.pk)
    place = watching.state_of(generation).place
    return Described(generation, place, step, has_content, _group_ids(generation))


def _group_ids(generation: Generation) -> list[int]:
    return [] if generation.group_id is None else [each.pk for each in queries.list_group(generation)]


def _write(serializer: Serializer[Any], described: Described, content: bytes | None) -> bytes:
    """Return the JSON, with the image's bytes if there are any."""
    written = orjson.dumps(serializer.to_representation(described))
    return written if content is None else response_bodies.put_images(written, [content])


def _load(generation: Generation) -> bytes | None:
    """Return the bytes of the image, or None without one and after its expiry. Raise ImageUnreachable."""
    if generation.image is None or generation.expires_at is None or generation.expires_at <= timezone.now():
        return None
    try:
        return images.load(image=generation.image)
    except images.ObjectMissing as cause:
        raise generation_response.unreachable(generation, cause) from cause
    except images.ImageGone:
        return None
    except (OSError, images.ImageUnreadable) as cause:
        raise generation_response.unreachable(generation, cause) from cause
