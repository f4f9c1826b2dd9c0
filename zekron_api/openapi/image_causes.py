"""The errors of the operations that make, quote, verify, read and delete images and generations."""

from functools import partial
from typing import Final

from rest_framework import exceptions

from billing.key_spending import KeySpendLimit
from billing.ledger import InsufficientBalance
from workers.catalogue import DEFAULT_MODEL
from workers.lifecycle.admission import ModelLoading, QueueTooLong
from workers.lifecycle.generations import TooManyOpen, TooManyQueued
from workers.lifecycle.idempotency import KeyReused
from workers.lifecycle.partials import PartialsSuspended
from workers.moderation import ContentRefused, ModerationFailed
from zekron_api.endpoints import (
    generation_events,
    generation_response,
    list_generations,
    list_models,
    serializers,
    verify,
    watch_generation,
)
from zekron_api.http import byte_range, errors, json_body, multipart_form
from zekron_api.openai import request_serializers
from zekron_api.openai import views as openai_views
from zekron_api.openapi.error_responses import Cause
from zekron_api.openapi.request_causes import query, send_plain_text


def _generate(**body: object) -> None:
    serializers.GenerateSerializer(data=body).is_valid(raise_exception=True)


def _quote(**body: object) -> None:
    serializers.QuoteSerializer(data=body).is_valid(raise_exception=True)


def _verify(*, is_read: bool = False, **body: object) -> None:
    checked = verify.VerifySerializer(data=body)
    checked.is_valid(raise_exception=True)
    if is_read:
        verify.verify(checked.validated_data["data"])


def _create_image(**body: object) -> None:
    request_serializers.CreateImageSerializer(data=body).is_valid(raise_exception=True)


def _edit_image(**body: object) -> None:
    request_serializers.EditImageSerializer(data=body).is_valid(raise_exception=True)


def _without_image(kind: type[errors.WithoutImage]) -> Cause:
    return partial(generation_response.error, kind, generation_ids=[42], code="")


_TOO_MANY_OPEN: Final[Cause] = partial(TooManyOpen, 5)

_MODEL_NOT_ALLOWED: Final[Cause] = partial(
    errors.ModelNotAllowed, f"This API key may only use: {DEFAULT_MODEL}."
)

_KEY_SPEND_LIMIT: Final[Cause] = partial(
    KeySpendLimit, "This API key may spend 25.0000 USD this month. Nothing was charged."
)

# The errors of a body that describes a generation.
_BODY: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"prompt": '),
    _generate,
    partial(_generate, prompt="x" * 4321),
    partial(_generate, prompt="ab\0"),
    partial(_generate, prompt="x", model="x"),
    partial(_generate, prompt="x", size="1x1"),
    partial(_generate, prompt="x", images=[{}, {}, {}]),
    partial(_generate, prompt="x", images=[{}]),
    partial(_generate, prompt="x", images=[{"data": "AAAA"}]),
    partial(_generate, prompt="x", num_images=4),
    partial(_generate, prompt="x", n=11),
    partial(_generate, prompt="x", image="AAAA"),
    partial(_generate, prompt="x", image_url="https://example.com/a.png"),
    partial(_generate, prompt="x", mask={"data": "AAAA"}),
    partial(_generate, prompt="x", mask_url="https://example.com/a.png"),
    errors.PayloadTooLarge,
    send_plain_text,
)

_OPENAI: Final[tuple[Cause, ...]] = (
    partial(json_body.parse_object, b'{"prompt": '),
    _create_image,
    partial(_create_image, prompt="x" * 4321),
    partial(_create_image, prompt="ab\0"),
    partial(_create_image, prompt="x", model="x"),
    partial(_create_image, prompt="x", size="1x1"),
    partial(_create_image, prompt="x", n=11),
    partial(_create_image, prompt="x", background="transparent"),
    partial(_create_image, prompt="x", frame_count=4),
    partial(_create_image, prompt="x", partial_images=1),
    errors.PayloadTooLarge,
    errors.InvalidIdempotencyKey,
    InsufficientBalance,
    _KEY_SPEND_LIMIT,
    _MODEL_NOT_ALLOWED,
    KeyReused,
    _TOO_MANY_OPEN,
    errors.TooManyStreams,
    _without_image(errors.GenerationFailed),
    _without_image(errors.ImageUnreachable),
    _without_image(errors.StateUnavailable),
    partial(QueueTooLong, 10),
    partial(ModelLoading, 30, 0.4),
    _without_image(errors.ServiceBusy),
    _without_image(errors.GenerationTimeout),
    _without_image(errors.GenerationCancelled),
    PartialsSuspended,
    partial(ContentRefused, "unnamed"),
    ModerationFailed,
    errors.SourcesNotStored,
    _without_image(errors.PictureRefused),
    errors.ImageExpired,
)
# The errors of one operation, by its operationId.
CAUSES: Final[dict[str, tuple[Cause, ...]]] = {
    "generate": (
        *_BODY,
        errors.InvalidIdempotencyKey,
        InsufficientBalance,
        _KEY_SPEND_LIMIT,
        _MODEL_NOT_ALLOWED,
        KeyReused,
        _TOO_MANY_OPEN,
        partial(TooManyQueued, 100),
        partial(_generate, prompt="x", queue_ttl=1),
        _without_image(errors.GenerationFailed),
        _without_image(errors.ImageUnreachable),
        _without_image(errors.StateUnavailable),
        partial(QueueTooLong, 10),
        partial(ModelLoading, 30, 0.4),
        _without_image(errors.ServiceBusy),
        _without_image(errors.GenerationTimeout),
        _without_image(errors.GenerationCancelled),
        _without_image(errors.QueueTtlExceeded),
        PartialsSuspended,
        partial(ContentRefused, "unnamed"),
        ModerationFailed,
        errors.SourcesNotStored,
        _without_image(errors.PictureRefused),
        errors.ImageExpired,
        query(generation_events.EventsSerializer, include="url"),
        errors.TooManyStreams,
    ),
    "quote": (
        *_BODY,
        _MODEL_NOT_ALLOWED,
        partial(_quote, prompt="x", images=3),
        partial(_quote, prompt="x", images=-1),
    ),
    "verify": (
        partial(json_body.parse_object, b'{"data": '),
        _verify,
        partial(_verify, data="AAAA", is_read=True),
        errors.PayloadTooLarge,
        send_plain_text,
    ),
    "getModel": (partial(list_models.find, "x"),),
    "createImage": (*_OPENAI, send_plain_text),
    "editImage": (
        *_OPENAI,
        partial(send_plain_text, takes_form=True),
        partial(multipart_form.parse_form, b"--", boundary=b"x"),
        partial(_edit_image, prompt="x"),
        partial(_edit_image, prompt="x", images=[{}] * 3),
        partial(_edit_image, prompt="x", images=[{"image_url": "data:image/png;base64,A"}]),
        partial(_edit_image, prompt="x", images=[b"AAAA"]),
        partial(_edit_image, prompt="x", images=[{"image_url": "https://example.com/a.png"}]),
        partial(_edit_image, prompt="x", images=[{"file_id": "file-1"}]),
        partial(_edit_image, prompt="x", mask=7),
    ),
    "createImageVariation": (openai_views.refuse_variation,),
    "getImage": (
        exceptions.PermissionDenied,
        exceptions.NotFound,
        errors.ImageExpired,
        errors.PreconditionFailed,
        partial(byte_range.RangeNotSatisfiable, byte_count=1_572_864),
    ),
    "getGeneration": (
        exceptions.NotFound,
        query(watch_generation.PollSerializer, wait="-1"),
        query(watch_generation.PollSerializer, include="url"),
        _without_image(errors.ImageUnreachable),
    ),
    "watchGeneration": (
        exceptions.NotFound,
        query(generation_events.EventsSerializer, include="url"),
        errors.TooManyStreams,
    ),
    "cancelGeneration": (exceptions.NotFound, errors.AlreadyEnded),
    "deleteGeneration": (exceptions.NotFound, errors.StillOpen),
    "deleteImage": (exceptions.PermissionDenied, exceptions.NotFound),
    "listGenerations": (
        query(list_generations.PageSerializer, limit="0"),
        query(list_generations.PageSerializer, status="done"),
        query(list_generations.PageSerializer, type="video"),
        query(list_generations.PageSerializer, model="x"),
        query(list_generations.PageSerializer, since="yesterday"),
        query(list_generations.PageSerializer, since="2026-11-28T00:00:00Z", until="2026-11-27T00:00:00Z"),
        query(list_generations.PageSerializer, before="43", offset="20"),
        query(list_generations.PageSerializer, status="failed", offset="20"),
    ),
}
