"""The HTTP connection of one client: uvicorn's protocol on httptools, for `uvicorn --http`.

It knows nothing of Django when it is imported, because uvicorn imports it before the application.
"""

import asyncio
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from zekron_api.waiting import half_close, shutdown


class HttpConnection(HttpToolsProtocol):
    """A connection that ignores offers of other protocols and replies after a half-close.

    A client may offer another protocol with any request, and a server may ignore the offer (RFC 9110, section 7.8).
    httptools stops at the end of such a header and drops the body. So the request is parsed again without its offer.

    A client may close its sending side and then read (RFC 9112, section 9.6). Complete requests get their replies.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Nothing that arrives after the last request is parsed.
        self._had_last_request = False
        self._is_in_body = False
        self._half_closed = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Parse bytes from the client."""
        self._unset_keepalive_if_required()
        rest = memoryview(data)
        while rest and not self._had_last_request:
            try:
                rest = self._parse(rest)
            except httptools.HttpParserError:
                self._refuse()

    # uvicorn declares that it never returns True.
    def eof_received(self) -> bool:  # type: ignore[override]
        """Return whether the connection stays open because a complete request has no reply yet."""
        self._half_closed.set()
        return self._end_requests()

    def shutdown(self) -> None:
        """Begin to stop: close the connection after its responses, and tell a stream of events to end."""
        if self.cycle is not None:
            shutdown.mark(cast(dict[str, Any], self.cycle.scope))
        super().shutdown()

    def on_headers_complete(self) -> None:
        """Start the request, unless it will be parsed again without its offer."""
        if not self.parser.should_upgrade():
            half_close.set_event(cast(dict[str, Any], self.scope), self._half_closed)
            super().on_headers_complete()
            self._is_in_body = True

    def on_message_complete(self) -> None:
        """Tell the application that the body is complete."""
        if not self.parser.should_upgrade():
            self._is_in_body = False
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """Start the next request, or close the connection after the last one."""
        is_last = self._had_last_request and not self.pipeline
        super().on_response_complete()
        if is_last:
            self._unset_keepalive_if_required()
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """Reply to bytes that are not HTTP with the error envelope, and close the connection."""
        # Imported here, because Django is not set up when uvicorn imports this module.
        from zekron_api.http import errors  # noqa: PLC0415

        response = errors.reply_with_status(400)
        headers = {**response.headers, "Content-Length": str(len(response.content)), "Connection": "close"}
        lines = b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in headers.items())
        self.transport.write(b"".join((STATUS_LINE[400], lines, b"\r\n", response.content)))
        self.transport.close()

    def _should_upgrade(self) -> bool:
        return False

    def _parse(self, data: memoryview) -> memoryview:
        """Parse bytes up to the end of a header that offers another protocol, and return the bytes after it."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._parse_without_offer()
            return data[offer.args[0] :]
        return data[:0]

    def _parse_without_offer(self) -> None:
        """Parse the header of the request again, with a new parser and without the field Upgrade."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise httptools.HttpParserError("The bytes of a tunnel are for another server.")
        version = self.parser.get_http_version().encode("ascii")
        lines = [b"%s %s HTTP/%s\r\n" % (method, self.url, version)]
        lines += [b"%s: %s\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        self.parser = self._new_parser()
        self.parser.feed_data(b"".join((*lines, b"\r\n")))

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # As in uvicorn: a client may send more after a request with "Connection: close".
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _refuse(self) -> None:
        """Refuse bytes that are not HTTP, after the replies to the requests before them."""
        is_answered = self._is_in_body and self.cycle.response_started
        if self._end_requests():
            return
        if is_answered:
            self.transport.close()
        else:
            self.send_400_response("")

    def _end_requests(self) -> bool:
        """Drop an incomplete request, and return whether a complete request has no reply yet."""
        self._had_last_request = True
        if self.cycle is None or self.cycle.response_complete:
            return False
        if not self._is_in_body:
            return True
        if self.pipeline:
            # The incomplete request is the newest in the queue; the ones before it are complete.
            self.pipeline.popleft()
            return True
        return False
