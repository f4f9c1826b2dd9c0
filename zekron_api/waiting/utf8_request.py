"""The request class of the waiting room."""

from typing import Any

from django.core.handlers.asgi import ASGIRequest
from django.utils.http import parse_header_parameters


class Utf8Request(ASGIRequest):
    """A request whose text is always UTF-8.

    Django would decode the query string by the charset of the body's Content-Type. It would answer an unknown charset,
    or one that is not a text encoding, with a traceback.
    """

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            self.content_type, self.content_params = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, ValueError):
            # An unreadable type becomes an empty one, which no view accepts.
            self.content_type, self.content_params = "", {}
