"""The requests of the API. Fields are checked in their order, and the first invalid field decides the error.

The OpenAPI document publishes the docstrings of the serializers and the help texts of their fields.
"""

from collections.abc import Sized
from typing import Any, Final

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework import serializers

from workers.imaging import source_images
from workers.imaging.encoders import MAX_COMPRESSION
from workers.messaging.partial_images import MAX_PARTIAL_IMAGES
from zekron_api.endpoints import (
    fields,
    mask_field,
    output_fields,
    parameter_fields,
    sizes,
    webhook_fields,
)
from zekron_api.endpoints.sizes import Size
from zekron_api.endpoints.unsupported_fields import UnsupportedField, refuse_variants
from zekron_api.http.errors import InvalidField

# A prompt needs a visible character. The invisible ones stand in the pattern themselves, because dialects of patterns
# differ in how they write those above U+FFFF.
_NOT_BLANK: Final = rf"^[^\u0000]*[^\s\u0000{fields.INVISIBLE}][^\u0000]*$"
# The time in the queue of an asynchronous generation: by default, and its bounds.
DEFAULT_QUEUE_TTL_SECONDS: Final = 3600
MIN_QUEUE_TTL_SECONDS: Final = 10
MAX_QUEUE_TTL_SECONDS: Final = 86_400
_ASYNC_HELP: Final = (
    "Whether to reply at once with 202 and the generation, as with `Prefer: respond-async`. The image is then at "
    "`GET /v1/generations/{id}`."
)
_NULL: Final[dict[str, object]] = {"type": "null"}
_SOURCE_IMAGE: Final = {"$ref": "#/components/schemas/SourceImage"}

# The JSON schemas of the fields, for the OpenAPI document. The schema of `model` depends on the models file.
extend_schema_field(
    {"type": "string", "minLength": 1, "maxLength": fields.MAX_PROMPT_CHARACTERS, "pattern": _NOT_BLANK}
)(fields.PromptField)
extend_schema_field(
    {
        "type": ["string", "null"],
        "anyOf": [{"enum": [*sizes.SIZES, sizes.AUTO, None]}, {"pattern": sizes.PATTERN}],
        "default": sizes.DEFAULT_SIZE,
    }
)(fields.SizeField)
extend_schema_field({"type": ["array", "null"], "items": _SOURCE_IMAGE, "maxItems": fields.MAX_SOURCES})(
    fields.SourcesField
)
extend_schema_field(
    {
        "type": ["array", "integer", "null"],
        "items": _SOURCE_IMAGE,
        "maxItems": fields.MAX_SOURCES,
        "minimum": 0,
        "maximum": fields.MAX_SOURCES,
    }
)(fields.SourceCountField)
extend_schema_field({"type": ["boolean", "null"], "default": False})(fields.FlagField)


@extend_schema_serializer(component_name="GenerateRequest")
class GenerateSerializer(serializers.Serializer[Any]):
    """The body of POST /v1/generate. Unknown fields are ignored, except those that ask for other or more images."""

    prompt = fields.PromptField(
        help_text="The image to make, or the change to make to the images. It must not be blank or contain NUL."
    )
    model = fields.ModelField(required=False, help_text="The model that makes the image.")
    size = fields.SizeField(
        required=False,
        help_text=f"Width and height of the new image in pixels: {sizes.RULES}. `auto` is "
        f"{sizes.DEFAULT_SIZE} for a new image. For an edit it has the shape of the first image and about a megapixel.",
    )
    images = fields.SourcesField(
        required=False,
        help_text="One or two images to edit. Without images, the image is made from the prompt alone.",
    )
    n = fields.ImageCountField(
        required=False,
        help_text="The number of images, each with a seed, a price and an end of its own. Without it one is made.",
    )
    seed = fields.NumberField(
        least=0,
        most=parameter_fields.MAX_SEED,
        help_text="The seed of the noise. The same request with the same seed makes the same image on one release and "
        "device, but for the rounding of a GPU. Each of several images has the next seed. Without one it is random.",
    )
    negative_prompt = parameter_fields.NegativePromptField(
        help_text="What the image should not show. Refused for a model that does not take it, see `GET /v1/models`."
    )
    quality = parameter_fields.ChoiceField(
        choices=parameter_fields.QUALITIES,
        default=parameter_fields.AUTO,
        help_text=f"Each model has one quality, which replies call `{parameter_fields.QUALITY}`, at the same price.",
    )
    background = parameter_fields.ChoiceField(
        choices=parameter_fields.BACKGROUNDS,
        default=parameter_fields.AUTO,
        help_text="The background. No model makes a transparent one yet, so `transparent` is refused.",
    )
    metadata = parameter_fields.MetadataField(
        help_text="Your own names and values, at most 16. Replies and the history repeat them."
    )
    expires_in = fields.NumberField(
        least=parameter_fields.MIN_EXPIRES_IN_SECONDS,
        most=parameter_fields.MAX_EXPIRES_IN_SECONDS,
        help_text="The seconds after which the image is deleted, counted from its end. Without it they are a day.",
    )
    image = UnsupportedField(schema=_NULL, help_text="Not supported. Send `images`.")
    image_url = UnsupportedField(
        schema=_NULL, help_text="Not supported, because no address is fetched. Send `images`."
    )
    mask = mask_field.MaskField()
    queue_ttl = fields.NumberField(
        least=MIN_QUEUE_TTL_SECONDS,
        most=MAX_QUEUE_TTL_SECONDS,
        help_text="For asynchronous requests, the seconds in which a worker must begin. After this time the generation "
        f"is cancelled and free. Without it the time is {DEFAULT_QUEUE_TTL_SECONDS} seconds.",
    )

    partial_images = fields.NumberField(
        least=0,
        most=MAX_PARTIAL_IMAGES,
        help_text="The number of partial images, which are small pictures of the unfinished image. Those who watch "
        "`GET /v1/generations/{id}/events` get at most as many, at no cost. Without it there are none. Refused for a "
        "model that makes none, see `GET /v1/models`.",
    )
    webhook_url = webhook_fields.WebhookUrlField(
        required=False,
        help_text="An https address that is told of the end of each image, as a webhook is. The secret of "
        "`GET /v1/webhooks/secret` signs. A webhook of the account at the same address gets the event once.",
    )
    output_format = output_fields.OutputFormatField(
        required=False, help_text="The format of the image's file."
    )
    output_compression = fields.NumberField(
        least=0,
        most=MAX_COMPRESSION,
        help_text="For `jpeg` and `webp`, from 0 for the smallest file to 100 for the best picture. A JPEG has this "
        "quality, at most 95. A WebP has this quality, and is lossless at 100. Without it, it is 100.",
    )

    def get_fields(self) -> dict[str, Any]:
        """Return the fields, among them `async`, which no attribute of a class can be called."""
        return {**super().get_fields(), "async": fields.FlagField(required=False, help_text=_ASYNC_HELP)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse variants of the unsupported fields, and what the model cannot do. Choose the size for `auto`."""
        refuse_variants(self.initial_data, known=self.fields)
        fields.refuse_too_many(attrs["images"], model=attrs["model"])
        mask_field.normalise(attrs)
        parameter_fields.refuse_beyond_model(attrs)
        if attrs["size"] is None:
            attrs["size"] = _choose_size(attrs["images"])
        output_fields.refuse_compressed_png(attrs)
        return attrs


@extend_schema_serializer(component_name="QuoteRequest")
class QuoteSerializer(GenerateSerializer):
    """The body of POST /v1/quote: a body of POST /v1/generate, in which `images` may be their number."""

    images = fields.SourceCountField(  # type: ignore[assignment] # it takes the base's values and their number
        required=False, help_text="The images to edit, or their number, because each image costs the same."
    )


def _choose_size(images: Sized) -> Size:
    """Return the size for `auto`. Raises InvalidField for a number of images, which have no shape."""
    if not images:
        return Size(*sizes.SIZES[sizes.DEFAULT_SIZE])
    if not isinstance(images, tuple):
        message = "size auto takes the shape of the first image. Send the images instead of their number, or a size."
        raise InvalidField("invalid_size", message)
    return sizes.shape_like(Size(*source_images.size_of(images[0])))


class WholeNumberField(fields.CheckedField):
    """A number written in ASCII digits, at least `least`. A number above `most` counts as `most`."""

    def __init__(self, *, nothing: int, least: int, most: int, help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        self._nothing, self._least, self._most = nothing, least, most
        set_override(self, "field", {"type": "integer", "minimum": least, "default": nothing})

    def checked(self, value: object) -> int:
        """Return the number, or `nothing` if none was sent. Raises InvalidField."""
        if value is None:
            return self._nothing
        try:
            # int() raises ValueError for more digits than it reads in reasonable time.
            number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else -1
        except ValueError:
            number = -1
        if number < self._least:
            message = f"{self.field_name} must be a whole number of at least {self._least}."
            raise InvalidField("invalid_parameter", message)
        return min(number, self._most)
