"""The fields of a request that choose the format of the image's file, and what follows from them."""

from collections.abc import Mapping
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field

from workers.imaging.encoders import (
    COMPRESSION_PARAMETER,
    DEFAULT_FORMAT,
    FORMAT_PARAMETER,
    MAX_COMPRESSION,
    Encoding,
    OutputFormat,
)
from zekron_api.endpoints.fields import CheckedField
from zekron_api.http.errors import InvalidField

_NAMES: Final = tuple(each.value for each in OutputFormat)


@extend_schema_field({"type": ["string", "null"], "enum": [*_NAMES, None], "default": DEFAULT_FORMAT.value})
class OutputFormatField(CheckedField):
    """The name of a format, or nothing."""

    def checked(self, value: object) -> OutputFormat | None:
        """Return the format, or None if none was sent. Raises InvalidField."""
        if value is None:
            return None
        if not isinstance(value, str) or value not in _NAMES:
            message = f"{self.field_name} must be one of: {', '.join(_NAMES)}."
            raise InvalidField("invalid_parameter", message)
        return OutputFormat(value)


def refuse_compressed_png(fields: Mapping[str, Any]) -> None:
    """Raise InvalidField for a compression of a format that has none."""
    if fields[COMPRESSION_PARAMETER] is None or encoding_of(fields).format is not OutputFormat.PNG:
        return
    message = (
        f"{COMPRESSION_PARAMETER} is for the formats jpeg and webp. A png is always lossless. Leave "
        f"{COMPRESSION_PARAMETER} out, or send {FORMAT_PARAMETER}."
    )
    raise InvalidField("invalid_parameter", message, field=COMPRESSION_PARAMETER)


def encoding_of(fields: Mapping[str, Any]) -> Encoding:
    """Return the encoding that the fields ask for."""
    compression = fields[COMPRESSION_PARAMETER]
    return Encoding(
        fields[FORMAT_PARAMETER] or DEFAULT_FORMAT, MAX_COMPRESSION if compression is None else compression
    )
