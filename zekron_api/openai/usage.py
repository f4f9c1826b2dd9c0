"""The numbers of tokens that OpenAI's replies tell. Here they are information: `cost` is what was charged.

A picture has a token for each square of 16 by 16 pixels, as the models' latents have.
"""

import math
from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_serializer
from rest_framework.serializers import IntegerField, Serializer

from workers.models import Generation
from zekron_api.endpoints.reply_fields import constant, usd_field
from zekron_api.endpoints.sizes import AUTO_PIXELS, STEP, parse


@extend_schema_serializer(component_name="TokenDetails")
class TokenDetailsSerializer(Serializer[Any]):
    """Tokens by what they are of."""

    text_tokens = IntegerField(min_value=0)
    image_tokens = IntegerField(min_value=0)


@extend_schema_serializer(component_name="ImageUsage")
class UsageSerializer(Serializer[Any]):
    """The tokens and the cost of the images."""

    input_tokens = IntegerField(min_value=0)
    input_tokens_details = TokenDetailsSerializer()
    output_tokens = IntegerField(min_value=0)
    output_tokens_details = TokenDetailsSerializer()
    total_tokens = IntegerField(min_value=0)
    cost = usd_field("The amount charged for all images, in USD.")
    currency = constant("USD")


def usage_of(completed: Sequence[Generation]) -> dict[str, Any]:
    """Return the values of a UsageSerializer for the completed generations of one request.

    The prompt and the source images count once. After the service has erased them they count nothing.
    """
    first = completed[0]
    text_tokens = first.prompt_tokens or 0
    source_tokens = sum(_source_tokens(width, height) for width, height in first.source_sizes)
    output_tokens = sum(_output_tokens(generation) for generation in completed)
    return {
        "input_tokens": text_tokens + source_tokens,
        "input_tokens_details": {"text_tokens": text_tokens, "image_tokens": source_tokens},
        "output_tokens": output_tokens,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output_tokens},
        "total_tokens": text_tokens + source_tokens + output_tokens,
        "cost": sum(generation.cost_micros or 0 for generation in completed),
    }


def tokens_of(width: int, height: int) -> int:
    """Return the tokens of a picture of this size in pixels."""
    return math.ceil(width / STEP) * math.ceil(height / STEP)


def _source_tokens(width: int, height: int) -> int:
    """Return the tokens of a source image, of which a model reads a megapixel at most."""
    scale = min(1.0, math.sqrt(AUTO_PIXELS / (width * height)))
    return tokens_of(round(width * scale), round(height * scale))


def _output_tokens(generation: Generation) -> int:
    size = parse(generation.size)
    return tokens_of(*size) if size else 0
