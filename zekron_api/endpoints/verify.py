"""The endpoint POST /v1/verify: whether a picture was made here, and the marks that it bears. It stores nothing."""

from typing import Any, Final, NamedTuple

from django.conf import settings
from drf_spectacular.utils import extend_schema_field, extend_schema_serializer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.serializers import Serializer

from workers.imaging import c2pa_reading, inspection
from workers.imaging.c2pa_reading import Manifest
from workers.imaging.source_images import InvalidImage
from workers.lifecycle import made_pictures
from zekron_api.endpoints.fields import CheckedField, decode_file
from zekron_api.endpoints.reply_fields import ReplyField, constant
from zekron_api.endpoints.views import ApiView
from zekron_api.http import rate_limit
from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import read_body


class Verdict(NamedTuple):
    """The knowledge of a picture. `made_here` is None if nobody knows."""

    made_here: bool | None
    source_type: str | None
    manifest: Manifest | None


@extend_schema_field({"type": "string", "format": "byte", "minLength": 1})
class ImageFileField(CheckedField):
    """The file of an image in base64."""

    def checked(self, value: object) -> bytes:
        """Return the bytes of the file. Raises InvalidField."""
        return decode_file(value, "data")


@extend_schema_serializer(component_name="VerifyRequest")
class VerifySerializer(Serializer[Any]):
    """The body of POST /v1/verify. Unknown fields are ignored."""

    # DRF removes the fields from the class, so a field named `data` hides no attribute of the serializer.
    data = ImageFileField(help_text="The file in base64, as `data` of a source image.")  # type: ignore[assignment]


class ManifestSerializer(Serializer[Any]):
    """The knowledge of a C2PA manifest."""

    valid = ReplyField(
        {"type": "boolean"},
        lambda value: value,
        "Whether the file is as it was signed. False also for a manifest that cannot be read.",
        source="is_valid",
    )
    trusted = ReplyField(
        {"type": "boolean"},
        lambda value: value,
        "Whether it is valid, and an authority that the service trusts vouches for who signed it.",
        source="is_trusted",
    )
    digital_source_type = ReplyField(
        {"type": ["string", "null"]},
        lambda value: value,
        "The digital source type of the last action that has one, or null without one.",
        source="source_type",
    )


class VerdictSerializer(Serializer[Any]):
    """The knowledge of the picture."""

    made_here = ReplyField(
        {"type": ["boolean", "null"]},
        lambda value: value,
        "Whether a picture of exactly these pixels was made here. It is null if the service keeps no digests.",
    )
    xmp = ReplyField(
        {"type": ["string", "null"]},
        lambda value: value,
        "The digital source type that the file's XMP packet names, or null without one. Anyone can write it.",
        source="source_type",
    )
    c2pa = ManifestSerializer(
        source="manifest",
        allow_null=True,
        help_text="The C2PA manifest in the file. It is null without one, and where the service reads none.",
    )


class VerifyReplySerializer(Serializer[Any]):
    """The reply with what is known of a picture."""

    success = constant(True)
    data = VerdictSerializer(source="*")  # type: ignore[assignment]


# A serializer copies its fields when it is made, which takes longer than to write a reply with them.
_REPLY: Final = VerifyReplySerializer()


class VerifyView(ApiView):
    """The endpoint POST /v1/verify."""

    rate_scope = rate_limit.Scope.VERIFICATIONS

    def post(self, request: Request) -> Response:
        """Return what is known of the picture in the body."""
        fields = read_body(request, VerifySerializer)
        return Response(_REPLY.to_representation(verify(fields["data"])))


def verify(content: bytes) -> Verdict:
    """Return what is known of a file. Raises InvalidField."""
    try:
        found = inspection.inspect(content)
    except InvalidImage as error:
        raise InvalidField("invalid_image", f"data: {error}") from None
    manifest = c2pa_reading.read(content, trust_anchors=settings.C2PA_TRUST_ANCHORS)
    if found.pixels is None:
        return Verdict(False if made_pictures.are_kept() else None, found.source_type, manifest)
    return Verdict(made_pictures.is_made_here(found.pixels), found.source_type, manifest)
