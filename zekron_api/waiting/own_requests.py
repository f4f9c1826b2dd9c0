"""Requests of the service to itself, on behalf of a client whose response is made of their replies.

Each passes the whole ASGI application. So there is one authentication, one rate limit and one waiting room.
"""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NamedTuple

import orjson
from django.http import HttpResponse

from zekron_api.waiting.request_body import Scope

Application = Callable[[Scope, Any, Any], Coroutine[Any, Any, None]]
# Headers of the client's request that belong to each request on its behalf.
_KEPT_HEADERS: Final = (b"host", b"authorization", b"traceparent")


class ClientLeft(Exception):
    """The client left, so a request on its behalf has no reply."""


class OwnReply(NamedTuple):
    """The reply to a request of the service to itself. The names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def json(self) -> Any:
        """Return the content, which is JSON in every reply of the API."""
        return orjson.loads(self.content)


class OwnRequests:
    """The requests on behalf of one client. All methods run in the event loop.

    A reply of megabytes has a slot, which it keeps until `release`: the response to the client is made of it, and is in
    memory for as long.
    """

    def __init__(self, application: Application, *, scope: Scope, receive: Any, request_id: str) -> None:
        self.scope = scope
        self._application, self._receive = application, receive
        self._headers = [header for header in scope["headers"] if header[0] in _KEPT_HEADERS]
        self._headers.append((b"x-request-id", request_id.encode("ascii")))
        self._exchanges: list[_Exchange] = []

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        body: dict[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        keeps_slot: bool = True,
    ) -> OwnReply:
        """Return the reply to a request with the client's key. Raise ClientLeft if there is none.

        The body is emptied, because its megabytes must not stay in memory during the wait. Without `keeps_slot` the
        reply's slot is free at once.
        """
        content = b""
        more = dict(headers or {})
        if body is not None:
            content = await asyncio.to_thread(_write, body)
            body.clear()
            more["content-type"] = "application/json"
        scope = {
            **self.scope,
            "method": method,
            "path": path,
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "headers": [
                *self._headers,
                (b"content-length", str(len(content)).encode("ascii")),
                *(
                    (name.lower().encode("ascii"), value.encode("utf-8", "surrogatepass"))
                    for name, value in more.items()
                ),
            ],
        }
        exchange = _Exchange(content, self._receive)
        del content
        self._exchanges.append(exchange)
        exchange.start(self._application, scope)
        reply = await exchange.reply()
        if not keeps_slot:
            await exchange.release(is_sent=True)
        return reply

    async def release(self, *, is_sent: bool) -> None:
        """End the requests. `is_sent` tells whether the client got the response that was made of their replies."""
        for exchange in self._exchanges:
            await exchange.release(is_sent=is_sent)


class ComposedResponse(HttpResponse):
    """A placeholder for a response that is made of replies to requests of the service to itself.

    Middleware treats it like any response, and its headers reach the client. A subclass implements `compose`.
    """

    async def compose(self, requests: OwnRequests) -> HttpResponse:
        """Return the response, without a thread while a request waits."""
        raise NotImplementedError


def _write(body: Mapping[str, Any]) -> bytes:
    """Return the body as JSON. It may have any text and any number that JSON has."""
    return json.dumps(body).encode("ascii")


class _Exchange:
    """One request and its reply. The server's side of it ends when the client has the response."""

    def __init__(self, body: bytes, receive: Any) -> None:
        self._body: bytes | None = body
        self._receive_of_client = receive
        self._status = 0
        self._headers: dict[str, str] = {}
        self._parts: list[bytes] = []
        self._is_whole = asyncio.Event()
        self._is_released = asyncio.Event()
        self._is_sent = False
        self._task: asyncio.Task[None] | None = None

    def start(self, application: Application, scope: Scope) -> None:
        """Hand the request to the application."""
        self._task = asyncio.create_task(application(scope, self._receive, self._send))

    async def reply(self) -> OwnReply:
        """Wait for the reply. Raise ClientLeft, or the application's exception."""
        assert self._task is not None
        whole = asyncio.ensure_future(self._is_whole.wait())
        try:
            await asyncio.wait((self._task, whole), return_when=asyncio.FIRST_COMPLETED)
        finally:
            whole.cancel()
        if not self._is_whole.is_set():
            self._task.result()
            raise ClientLeft
        content = b"".join(self._parts)
        self._parts.clear()
        return OwnReply(self._status, self._headers, content)

    async def release(self, *, is_sent: bool) -> None:
        """Let the application end its side, and wait for that."""
        if not self._is_released.is_set():
            self._is_sent = is_sent
            self._is_released.set()
        if self._task is not None:
            await asyncio.wait((self._task,))

    async def _receive(self) -> dict[str, Any]:
        """Return the body once, and then what the server tells of the client's connection."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        message: dict[str, Any] = await self._receive_of_client()
        return message

    async def _send(self, message: dict[str, Any]) -> None:
        """Take a part of the reply. The last one counts as sent once the client has the response."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]
            }
            return
        self._parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            self._is_whole.set()
            await self._is_released.wait()
            if not self._is_sent:
                raise OSError("The client did not get the response.")
