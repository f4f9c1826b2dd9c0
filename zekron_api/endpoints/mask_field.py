"""The mask of an edit: where the first image is to be painted anew."""

from typing import Any, Final

from drf_spectacular.drainage import set_override

from workers.catalogue import ImageModel
from workers.imaging import masks, source_images
from zekron_api.endpoints.fields import MAX_SOURCE_BYTES, CheckedField, decode_base64, json_type
from zekron_api.http.errors import InvalidField

HELP: Final = (
    "A PNG of the size of the first image. Where it is fully transparent, the image is painted anew. Where it is "
    "opaque, the result has the pixels of the first image."
)
_SCHEMA: Final = {"anyOf": [{"$ref": "#/components/schemas/SourceImage"}, {"type": "null"}]}


class MaskField(CheckedField):
    """A mask, `{"data": base64}`, or nothing."""

    def __init__(self, *, help_text: str = HELP) -> None:
        super().__init__(required=False, help_text=help_text)
        set_override(self, "field", _SCHEMA)

    def checked(self, value: object) -> bytes | None:
        """Return the client's file, or None if none was sent. Raises InvalidField."""
        if value is None:
            return None
        content = self.file_of(value)
        if len(content) > MAX_SOURCE_BYTES:
            message = f"mask has {len(content)} bytes; at most {MAX_SOURCE_BYTES} are allowed."
            raise InvalidField("invalid_mask", message)
        return content

    def file_of(self, value: object) -> bytes:
        """Return the client's file. Raises InvalidField."""
        if not isinstance(value, dict):
            message = f'mask must be an object {{"data": base64}}, not {json_type(value)}.'
            raise InvalidField("invalid_mask", message)
        return decode_base64(value.get("data"), "mask.data")


def normalise(fields: dict[str, Any]) -> None:
    """Put the mask into the form in which it is stored. Raises InvalidField for one that the edit cannot have.

    The images of a quote may be a number. Its mask is then compared with none.
    """
    content, sources = fields["mask"], fields["images"]
    if content is None:
        return
    model: ImageModel = fields["model"]
    if not sources:
        raise InvalidField(
            "invalid_mask", "mask needs images. It says where to paint the first of them anew."
        )
    if not model.takes_masks:
        message = f"The model {model.name} takes no mask. Say in prompt what to change, and leave mask out."
        raise InvalidField("unsupported_parameter", message, field="mask")
    if not isinstance(sources, tuple):
        return
    try:
        fields["mask"] = masks.normalise(content, size=source_images.size_of(sources[0]))
    except masks.InvalidMask as error:
        raise InvalidField("invalid_mask", f"mask: {error}") from None
