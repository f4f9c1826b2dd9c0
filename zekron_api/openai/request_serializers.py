"""The requests of OpenAI's API that make images: the service's own fields, and those that only OpenAI has.

A field is honoured, or it says that it has no effect, or it is refused by name.
"""

from typing import Any, Final, NoReturn

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework.fields import SkipField

from workers.imaging.encoders import COMPRESSION_PARAMETER, FORMAT_PARAMETER, MAX_COMPRESSION, OutputFormat
from workers.messaging.partial_images import MAX_PARTIAL_IMAGES
from workers.messaging.partial_images import PARAMETER as PARTIAL_IMAGES
from zekron_api.endpoints import fields, mask_field, parameter_fields, sizes
from zekron_api.endpoints.fields import CheckedField, decode_base64, json_type
from zekron_api.endpoints.serializers import GenerateSerializer
from zekron_api.http.errors import InvalidField

URL: Final = "url"
B64_JSON: Final = "b64_json"
# Of these models OpenAI's clients expect the bytes, unless they ask for something else.
_MODELS_WITH_BYTES: Final = ("gpt-image-", "chatgpt-image-")
_NO_EFFECT: Final = "Accepted without effect."
_NULL: Final[dict[str, object]] = {"type": "null"}
_MAX_IDENTIFIER_CHARACTERS: Final = 512


class RefusedField(CheckedField):
    """A field of OpenAI that this service cannot honour."""

    def __init__(self, *, instead: str) -> None:
        super().__init__(required=False, help_text=f"Not supported. {instead}")
        self._instead = instead
        set_override(self, "field", _NULL)

    def checked(self, value: object) -> NoReturn:
        """Keep the field out of the request. Raise InvalidField for a value, because it asks for something."""
        if value is None:
            raise SkipField
        raise InvalidField("unsupported_parameter", f"{self.field_name} is not supported. {self._instead}")


class IdentifierField(CheckedField):
    """A text that names the client's own user, or nothing."""

    def __init__(self) -> None:
        super().__init__(required=False, help_text=_NO_EFFECT)
        set_override(self, "field", {"type": ["string", "null"], "maxLength": _MAX_IDENTIFIER_CHARACTERS})

    def checked(self, value: object) -> None:
        """Raise InvalidField for another type or a longer text."""
        if value is not None and not isinstance(value, str):
            raise InvalidField(
                "invalid_parameter", f"{self.field_name} must be a string, not {json_type(value)}."
            )
        if value is not None and len(value) > _MAX_IDENTIFIER_CHARACTERS:
            message = f"{self.field_name} must have at most {_MAX_IDENTIFIER_CHARACTERS} characters."
            raise InvalidField("invalid_parameter", message)


def _without_effect(*choices: str, default: str) -> parameter_fields.ChoiceField:
    return parameter_fields.ChoiceField(choices=choices, default=default, help_text=_NO_EFFECT)


class _ImageSerializer(GenerateSerializer):
    """The fields of both requests. Those that are not named here are the service's own."""

    quality = parameter_fields.ChoiceField(
        choices=(*parameter_fields.QUALITIES, "xhigh", "max", "standard", "hd"),
        default=parameter_fields.AUTO,
        help_text=f"Each model has one quality, which replies call `{parameter_fields.QUALITY}`, at the same price.",
    )
    response_format = parameter_fields.ChoiceField(
        choices=(URL, B64_JSON),
        default="",
        help_text="`url` for the address of each image, which needs your key, and `b64_json` for its bytes. Without it "
        "there are both, and for a model whose name begins with `gpt-image-` or `chatgpt-image-` the bytes alone.",
    )
    stream = fields.FlagField(
        required=False, help_text="Whether to reply with server-sent events, the images last."
    )
    moderation = _without_effect("low", "auto", default="auto")
    complexity = _without_effect("low", "medium", "high", default="medium")
    user = IdentifierField()
    safety_identifier = IdentifierField()
    image = None  # type: ignore[assignment] # DRF leaves the base's field out
    image_url = None  # type: ignore[assignment]
    queue_ttl = RefusedField(instead="Send it to POST /v1/generate, with async: true.")  # type: ignore[assignment]
    frame_count = RefusedField(instead="One image has one frame.")
    frame_duration_ms = RefusedField(instead="One image has one frame.")
    svg = RefusedField(instead="No model draws SVG.")
    partial_images = fields.NumberField(
        least=0,
        most=MAX_PARTIAL_IMAGES,
        help_text="With `stream`, the number of partial images, which are small pictures of the unfinished image and "
        "come at no cost. Without it there are none.",
    )

    def get_fields(self) -> dict[str, Any]:
        """Return the fields. `async` is refused, because these replies have the images."""
        refused = RefusedField(instead="Send it to POST /v1/generate.")
        return {**super().get_fields(), "async": refused}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check what OpenAI's fields ask for together, and then what the service's own do."""
        if attrs[PARTIAL_IMAGES] and not attrs["stream"]:
            message = "partial_images needs stream: true. A reply without events has the images alone."
            raise InvalidField("invalid_parameter", message, field=PARTIAL_IMAGES)
        if attrs["stream"] and attrs["response_format"] == URL:
            message = "response_format must be b64_json with stream: true, because the events have the bytes."
            raise InvalidField("invalid_parameter", message, field="response_format")
        is_png = attrs[FORMAT_PARAMETER] in (None, OutputFormat.PNG)
        if is_png and attrs[COMPRESSION_PARAMETER] == MAX_COMPRESSION:
            # OpenAI's default, which asks for nothing.
            attrs[COMPRESSION_PARAMETER] = None
        attrs = super().validate(attrs)
        return {**attrs, "async": None, "queue_ttl": None}

    @property
    def content_kinds(self) -> frozenset[str]:
        """The kinds of content that each image of the reply has: its address, its bytes, or both."""
        asked: str = self.validated_data["response_format"]
        model = self.initial_data.get("model")
        has_bytes_alone = isinstance(model, str) and model.startswith(_MODELS_WITH_BYTES)
        return frozenset([asked] if asked else [B64_JSON] if has_bytes_alone else [URL, B64_JSON])


@extend_schema_serializer(component_name="CreateImageRequest")
class CreateImageSerializer(_ImageSerializer):
    """The body of POST /v1/images/generations."""

    style = _without_effect("vivid", "natural", default="vivid")  # type: ignore[assignment] # DRF takes it off the class
    images = RefusedField(instead="Send it to POST /v1/images/edits.")  # type: ignore[assignment]
    image = RefusedField(instead="Send it to POST /v1/images/edits.")  # type: ignore[assignment]
    image_url = RefusedField(instead="Send images to POST /v1/images/edits.")  # type: ignore[assignment]
    mask = RefusedField(instead="Send it to POST /v1/images/edits.")  # type: ignore[assignment]

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Check the fields of a request without images."""
        return super().validate({**attrs, "images": (), "mask": None})


class FileField:
    """The file of an image as these clients send it: the bytes of a form, or an object with a data URL."""

    def file_of(self, item: object, name: str) -> bytes:
        """Return the file. Raises InvalidField."""
        if isinstance(item, bytes):
            return fields.refuse_too_large(item, name)
        return fields.decode_file(_data_url_of(item, name), f"{name}.image_url")


def _data_url_of(item: object, name: str) -> object:
    """Return `image_url` of a reference to a file. Raises InvalidField for one that would have to be fetched."""
    if not isinstance(item, dict):
        message = f'{name} must be an object {{"image_url": data URL}}, not {json_type(item)}.'
        raise InvalidField("invalid_base64", message)
    if item.get("file_id") is not None:
        raise InvalidField(
            "unsupported_file_id", f"{name}.file_id is not supported. Send image_url with a data URL."
        )
    url = item.get("image_url")
    if isinstance(url, str) and not url.lower().startswith("data:"):
        message = f"{name}.image_url must be a data URL, because no address is fetched."
        raise InvalidField("unsupported_image_url", message)
    return url


class EditSourcesField(FileField, fields.SourcesField):
    """The images of an edit, of which there must be one."""

    def checked(self, value: object) -> tuple[bytes, ...]:
        """Return the images as PNGs that this service wrote. Raises InvalidField."""
        if value is None or value == []:
            raise InvalidField("missing_image", "image is required: the image to edit, or a list of images.")
        return super().checked(value)


_FILE: Final = {"$ref": "#/components/schemas/ImageReference"}
extend_schema_field({"type": "array", "items": _FILE, "minItems": 1, "maxItems": fields.MAX_SOURCES})(
    EditSourcesField
)


class EditMaskField(mask_field.MaskField):
    """The mask of an edit, or nothing."""

    def file_of(self, value: object) -> bytes:
        """Return the client's file. Raises InvalidField."""
        if isinstance(value, bytes):
            return value
        return decode_base64(_data_url_of(value, "mask"), "mask.image_url")


@extend_schema_serializer(component_name="EditImageRequest")
class EditImageSerializer(_ImageSerializer):
    """The body of POST /v1/images/edits as JSON."""

    size = fields.SizeField(
        required=False,
        help_text=f"Width and height of the new image in pixels: {sizes.RULES}. `auto`, the default, has the shape of "
        "the first image and about a megapixel.",
    )
    images = EditSourcesField(help_text="The images to edit: one or two.")
    image = RefusedField(instead='Send images: [{"image_url": data URL}], or a form.')  # type: ignore[assignment]
    image_url = RefusedField(instead='Send images: [{"image_url": data URL}].')  # type: ignore[assignment]
    mask = EditMaskField()
    input_fidelity = _without_effect("high", "low", default="low")
    markup = RefusedField(instead="Say in prompt what to change, or send a mask.")


class _UploadField(CheckedField):
    """A field of a form with files, for the OpenAPI document."""

    def __init__(self, *, is_list: bool, help_text: str) -> None:
        super().__init__(required=is_list, help_text=help_text)
        file = {"type": "string", "format": "binary"}
        several = {"type": "array", "items": file, "minItems": 1, "maxItems": fields.MAX_SOURCES}
        set_override(self, "field", {"anyOf": [file, several]} if is_list else file)


@extend_schema_serializer(component_name="EditImageForm")
class EditImageFormSerializer(EditImageSerializer):
    """The body of POST /v1/images/edits as a form: the same fields, but the images as files. It is only described."""

    images = None  # type: ignore[assignment] # DRF leaves the base's field out
    image_url = None  # type: ignore[assignment]
    image = _UploadField(  # type: ignore[assignment]
        is_list=True,
        help_text="The files to edit: one or two. The names `image[]` and `image[0]` are read alike.",
    )
    mask = _UploadField(is_list=False, help_text=mask_field.HELP)  # type: ignore[assignment]
