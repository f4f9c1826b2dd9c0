"""The replies of OpenAI's API with images, written from the rows of the generations."""

from collections.abc import Collection
from functools import partial
from typing import Any, Final

import orjson
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema_serializer
from rest_framework.serializers import CharField, IntegerField, Serializer

from workers.imaging.encoders import OutputFormat
from workers.models import Generation
from zekron_api.endpoints import generation_response, response_bodies
from zekron_api.endpoints.generation_response import Made
from zekron_api.endpoints.parameter_fields import QUALITY
from zekron_api.endpoints.reply_fields import (
    base64_field,
    choice,
    constant,
    seed_field,
    time_field,
    url_field,
)
from zekron_api.http.errors import ImageExpired
from zekron_api.openai.request_serializers import B64_JSON, URL
from zekron_api.openai.usage import UsageSerializer, usage_of


@extend_schema_serializer(component_name="OpenAIImage")
class ImageSerializer(Serializer[Any]):
    """An image."""

    b64_json = base64_field("The file as base64.", required=False)
    url = url_field("The image's address. It needs your API key.", required=False)
    id = IntegerField(source="generation.pk", min_value=1, help_text="The generation's `id`.")
    seed = seed_field(source="generation")
    expires_at = time_field("When the image is deleted.", source="generation.expires_at")


@extend_schema_serializer(component_name="ImagesReply")
class ImagesReplySerializer(Serializer[Any]):
    """The reply with the images that were made."""

    created = IntegerField(min_value=0, help_text="When the request was accepted, in Unix seconds.")
    data = ImageSerializer(many=True, source="images")  # type: ignore[assignment]
    background = constant("opaque")
    output_format = choice(OutputFormat)
    quality = constant(QUALITY)
    size = CharField()
    usage = UsageSerializer()
    failed = IntegerField(
        min_value=0, required=False, help_text="With `n`: the number of images that failed, which are free."
    )


_REPLY: Final = ImagesReplySerializer()


def build(*, generation_id: int, content_kinds: Collection[str]) -> HttpResponse:
    """Return the reply for the rows of a request, whose images have these kinds of content.

    Raises the exceptions of `generation_response.build`.
    """
    return generation_response.build_with(
        partial(_write, content_kinds=content_kinds), generation_id=generation_id
    )


def format_of(generation: Generation) -> OutputFormat:
    """Return the format of a completed generation's file."""
    assert generation.image is not None
    return OutputFormat(generation.image.mime_type.removeprefix("image/"))


def _write(made: Made, *, content_kinds: Collection[str]) -> HttpResponse:
    first = made.completed[0]
    contents = [_load(generation, is_sent=B64_JSON in content_kinds) for generation in made.completed]
    described = {
        "created": int(first.created_at.timestamp()),
        "images": [
            {
                "generation": generation,
                **({B64_JSON: response_bodies.PLACEHOLDER} if B64_JSON in content_kinds else {}),
                **({URL: generation} if URL in content_kinds else {}),
            }
            for generation in made.completed
        ],
        "output_format": format_of(first),
        "size": first.size,
        "usage": usage_of(made.completed),
        **({} if first.group_id is None else {"failed": made.failed_count}),
    }
    written = orjson.dumps(_REPLY.to_representation(described))
    body = response_bodies.put_images(written, [content for content in contents if content is not None])
    return made.add_cost(HttpResponse(body, content_type="application/json"))


def _load(generation: Generation, *, is_sent: bool) -> bytes | None:
    if is_sent:
        return generation_response.load(generation)
    if generation_response.is_expired(generation):
        raise ImageExpired
    return None
