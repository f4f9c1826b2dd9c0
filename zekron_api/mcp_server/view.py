"""The endpoint POST /mcp: the Model Context Protocol by Streamable HTTP, without sessions or streams.

Key, limits and middleware are those of every other path. The client's message is answered in the waiting room.
"""

import asyncio
import gc
import json
import threading
from typing import Any, Final, cast

from django.http import HttpResponse
from rest_framework import exceptions
from rest_framework.request import Request

from zekron_api.endpoints.views import ApiView
from zekron_api.http import rate_limit
from zekron_api.http.json_body import NotAnObject, check_body
from zekron_api.mcp_server.call import Call
from zekron_api.waiting.deferred_response import SUPPORTS_DEFERRAL
from zekron_api.waiting.own_requests import ComposedResponse, OwnRequests

# Set once the SDK is imported.
_HAS_PROTOCOL: Final = threading.Event()
# The codes of JSON-RPC 2.0, section 5.1.
_PARSE_ERROR: Final = -32700
_INVALID_REQUEST: Final = -32600


class McpView(ApiView):
    """The endpoint POST /mcp."""

    rate_scope = rate_limit.Scope.MESSAGES
    # Not in the OpenAPI document, because a client asks the protocol for its tools and their schemas.
    schema = None

    def post(self, request: Request) -> HttpResponse:
        """Return a response that the waiting room completes with the reply to the message."""
        assert getattr(request, SUPPORTS_DEFERRAL, False), "only the waiting room completes the response"
        try:
            check_body(request)
            return McpResponse(cast("dict[str, Any]", request.data))
        except exceptions.ParseError as error:
            code = _INVALID_REQUEST if isinstance(error, NotAnObject) else _PARSE_ERROR
            return _protocol_error(code, str(error.detail))


class McpResponse(ComposedResponse):
    """A placeholder for the reply to one message of a client."""

    def __init__(self, message: dict[str, Any]) -> None:
        super().__init__(content_type="application/json")
        # The arguments may hold megabytes of base64. The SDK would copy them on the event loop, and keep them during
        # the wait.
        self._arguments = _take_arguments(message)
        self._message = json.dumps(message).encode("ascii")

    async def compose(self, requests: OwnRequests) -> HttpResponse:
        """Return the reply to the message."""
        if not _HAS_PROTOCOL.is_set():
            await asyncio.to_thread(_load_protocol)
        from zekron_api.mcp_server import protocol  # noqa: PLC0415 (it was imported in a thread)

        call, self._arguments = Call(requests, self._arguments), {}
        return await protocol.answer(self._message, call, scope=requests.scope)


def _take_arguments(message: dict[str, Any]) -> dict[str, Any]:
    """Remove the arguments of a tool's call from the message, and return them."""
    params = message.get("params")
    if message.get("method") != "tools/call" or not isinstance(params, dict):
        return {}
    arguments = params.get("arguments")
    if not isinstance(arguments, dict):
        return {}
    params["arguments"] = {}
    return arguments


def _load_protocol() -> None:
    """Import the SDK, which takes a second and a half of processor time and 26 MB. Most services have no such client.

    As with the objects of the start, collections of garbage never walk its objects.
    """
    from zekron_api.mcp_server import protocol  # noqa: F401, PLC0415 (only the first client waits for it)

    gc.freeze()
    _HAS_PROTOCOL.set()


def _protocol_error(code: int, message: str) -> HttpResponse:
    """Return the error of JSON-RPC for a message that cannot be read."""
    content = {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}
    return HttpResponse(json.dumps(content), status=400, content_type="application/json")
