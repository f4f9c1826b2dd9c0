"""The requests of the API, as DRF serializers. The first field that is wrong decides the error, in the order given."""

from typing import Any

from rest_framework import serializers

from zekron_api.endpoints import fields
from zekron_api.http.errors import InvalidField

DEFAULT_PAGE_SIZE = 20
MAX_PAGE_SIZE = 100
# PostgreSQL's OFFSET is a 64-bit integer.
MAX_OFFSET = 2**63 - 1


class GenerateSerializer(serializers.Serializer[Any]):
    """The body of POST /v1/generate. Fields that it does not name are ignored, as published."""

    prompt = fields.PromptField()
    model = fields.ModelField()
    size = fields.SizeField()
    images = fields.SourcesField()

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuses more images than the model takes."""
        fields.refuse_too_many(attrs["images"], model=attrs["model"])
        return attrs


class WholeNumberField(fields.CheckedField):
    """ASCII digits that make a number of at least `least`; over `most` it counts as `most`."""

    def __init__(self, *, nothing: int, least: int, most: int) -> None:
        super().__init__()
        self._nothing, self._least, self._most = nothing, least, most

    def checked(self, value: object) -> int:
        """The number."""
        if value is None:
            return self._nothing
        try:
            # int() itself refuses more digits than it reads in reasonable time.
            number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else -1
        except ValueError:
            number = -1
        if number < self._least:
            message = f"{self.field_name} must be a whole number of at least {self._least}."
            raise InvalidField("invalid_parameter", message)
        return min(number, self._most)


class PageSerializer(serializers.Serializer[Any]):
    """The query of GET /v1/generations."""

    limit = WholeNumberField(nothing=DEFAULT_PAGE_SIZE, least=1, most=MAX_PAGE_SIZE)
    offset = WholeNumberField(nothing=0, least=0, most=MAX_OFFSET)
