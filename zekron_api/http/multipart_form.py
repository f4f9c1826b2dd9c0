"""The parser of forms with files (RFC 7578): a list of parts, bounded in number.

Clients differ in how they send a file. Some give it no name, and Django's parser would read such a part as text.
"""

from collections.abc import Mapping
from typing import IO, Any, Final, NamedTuple

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from rest_framework.parsers import BaseParser

from zekron_api.http.errors import InvalidField
from zekron_api.http.json_body import FORM

# No valid request has as many fields and files.
MAX_PARTS: Final = 100


class Part(NamedTuple):
    """A part of a form: the name of its field, and its bytes."""

    name: str
    content: bytes


class Form(list[Part]):
    """The parts of a form in their order."""


class FormParser(BaseParser):
    """DRF's parser for forms with files. Call `check_body` with the request first."""

    media_type = FORM

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the parts of the form, a Form; raise InvalidField."""
        boundary = parse_options_header(media_type)[1].get(b"boundary", b"")
        if not boundary:
            raise InvalidField(
                "invalid_form", "The header Content-Type names no boundary of the form's parts."
            )
        return parse_form(stream.read(), boundary=boundary)


def parse_form(content: bytes, *, boundary: bytes) -> Form:
    """Return the parts of a form's bytes; raise InvalidField and nothing else."""
    # The parser reads on byte by byte after each line that begins as the end of a part.
    if content.count(b"\r\n--" + boundary) > MAX_PARTS + 1:
        raise InvalidField(
            "invalid_form", f"The request body is not a valid form: it has more than {MAX_PARTS} parts."
        )
    reader = _Reader()
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise InvalidField("invalid_form", f"The request body is not a valid form: {error}") from None
    if not reader.is_whole:
        raise InvalidField(
            "invalid_form", "The request body is not a valid form: it ends before its last part does."
        )
    return reader.form


class _Reader:
    """The parts that the parser has found so far."""

    def __init__(self) -> None:
        self.form = Form()
        self.is_whole = False
        self._header = self._value = b""
        self._name: str | None = None
        self._content: list[bytes] = []

    def callbacks(self) -> Any:
        """Return the parser's callbacks by name."""
        names = "part_begin header_field header_value header_end part_data part_end end"
        return {f"on_{name}": getattr(self, name) for name in names.split()}

    def part_begin(self) -> None:
        if len(self.form) >= MAX_PARTS:
            raise FormParserError(f"it has more than {MAX_PARTS} parts")
        self._name, self._content = None, []

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            name = parse_options_header(self._value)[1].get(b"name")
            self._name = None if name is None else name.decode("utf-8", "replace")
        self._header = self._value = b""

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._content.append(data[start:end])

    def part_end(self) -> None:
        if self._name is None:
            raise FormParserError("a part has no name")
        self.form.append(Part(self._name, b"".join(self._content)))

    def end(self) -> None:
        self.is_whole = True
