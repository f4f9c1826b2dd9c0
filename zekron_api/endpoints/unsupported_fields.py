"""Fields that other services have and this one has not, and that would cost the client money if they were ignored.

An edit that is meant must not become a paid create, and four pictures that are meant must not become one. Unknown
fields are ignored, as the published API says.
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from drf_spectacular.drainage import set_override
from rest_framework.fields import SkipField

from zekron_api.endpoints.fields import CheckedField
from zekron_api.http.errors import InvalidField

_SEND_IMAGES: Final = 'Send images: an array of one or two objects {{"data": base64}}.'
# The messages name the field as the client wrote it.
_MESSAGES: Final = {
    "image": f"{{name}} is not supported. {_SEND_IMAGES}",
    "image_url": f"{{name}} is not supported, because no address is fetched. {_SEND_IMAGES}",
    "mask": '{name} is not supported. Send mask: an object {{"data": base64}}.',
    "n": "{name} is not supported. Send n: the number of images.",
}
_VARIANTS: Final = {
    "image": (
        "image images initimage initimages inputimage inputimages sourceimage sourceimages referenceimage "
        "referenceimages imagebase64 imageb64"
    ),
    "image_url": "imageurl imageurls inputimageurl inputimageurls",
    "mask": "mask maskimage maskurl",
    "n": "n numimages numimagesperprompt numoutputs numberofimages batchsize samplecount",
}
_FIELDS: Final = {variant: field for field, variants in _VARIANTS.items() for variant in variants.split()}
_MAX_NAME_CHARACTERS: Final = 40


class UnsupportedField(CheckedField):
    """A field that must be left out. Null, and for a number of images 1, ask for nothing else than its absence."""

    def __init__(self, *, schema: dict[str, object], help_text: str) -> None:
        super().__init__(required=False, help_text=help_text)
        set_override(self, "field", schema)

    def checked(self, value: object) -> NoReturn:
        """Keep the field out of the request; raise InvalidField for a value that asks for something."""
        name = self.field_name or ""
        _refuse(name, field=name, value=value)
        raise SkipField


def refuse_variants(body: Mapping[str, Any], *, known: Mapping[str, Any]) -> None:
    """Raise InvalidField for other spellings and other services' names of the unsupported fields, such as `imageUrl`.

    A name of a known field is no variant.
    """
    for name, value in body.items():
        if name in known or len(name) > _MAX_NAME_CHARACTERS:
            continue
        field = _FIELDS.get(name.lower().replace("_", "").replace("-", ""))
        if field is not None:
            _refuse(name, field=field, value=value)


def _refuse(name: str, *, field: str, value: object) -> None:
    if value is None or (field == "n" and value == 1 and not isinstance(value, bool)):
        return
    raise InvalidField("unsupported_parameter", _MESSAGES[field].format(name=name), field=name)
