"""The Model Context Protocol around the tools, by the official SDK, whose import `view.py` puts off."""

import json
import logging
from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpResponse
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ContentBlock,
    ImageContent,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from zekron_api.http import errors
from zekron_api.mcp_server import tools
from zekron_api.mcp_server.call import Call, Outcome, refused_by
from zekron_api.waiting.own_requests import ClientLeft
from zekron_api.waiting.request_body import Scope

log = logging.getLogger(__name__)

_INSTRUCTIONS: Final = (
    "Tools that make and edit images for a prepaid account. Each image is charged: ask quote for the price first, and "
    "tell the user the cost. Send an idempotency_key with each image, so that a repeated call costs nothing."
)
# The key of the call in the scope that the SDK hands to the handlers.
_CALL: Final = "zekron.call"
# Headers of the client's request that do not describe the message to the SDK.
_DROPPED_HEADERS: Final = (b"authorization", b"content-length")
# The middleware has refused hosts that the operator does not serve. That stops DNS rebinding, whose requests name the
# attacker's host. Origins need no check: a page of another origin has no API key that a browser would add by itself.
_SECURITY: Final = TransportSecuritySettings(enable_dns_rebinding_protection=False)


async def answer(message: bytes, call: Call, *, scope: Scope) -> HttpResponse:
    """Return the reply to one message of a client. `call` is for a message that calls a tool.

    The server keeps no sessions, so a manager lives for one message, and ends all that it has started.
    """
    manager = StreamableHTTPSessionManager(
        _SERVER,
        json_response=True,
        stateless=True,
        security_settings=_SECURITY,
        max_request_body_size=len(message),
    )
    exchange = _Exchange(message)
    headers = [header for header in scope["headers"] if header[0] not in _DROPPED_HEADERS]
    async with manager.run():
        await manager.handle_request(
            {**scope, "headers": headers, _CALL: call}, exchange.receive, exchange.send
        )
    return exchange.response()


class _Exchange:
    """The message as the SDK receives it, and the reply as the SDK sends it."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._status = 500
        self._headers: Mapping[str, str] = {}
        self._content = b""

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": self._message, "more_body": False}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = {
                name.decode("latin-1"): value.decode("latin-1") for name, value in message["headers"]
            }
        else:
            self._content += message.get("body", b"")

    def response(self) -> HttpResponse:
        """Return the SDK's reply, or the error envelope for a refusal that is no message of the protocol."""
        media_type = self._headers.get("content-type", "")
        if self._status >= 400 and not media_type.startswith("application/json"):
            return errors.reply_with_status(self._status)
        return HttpResponse(self._content, status=self._status, content_type=media_type or "application/json")


async def _list_tools(
    context: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
) -> ListToolsResult:
    del context, params
    return ListToolsResult(tools=[_describe(name, tool) for name, tool in tools.offered()])


async def _call_tool(
    context: ServerRequestContext[Any, Any], params: CallToolRequestParams
) -> CallToolResult:
    tool = dict(tools.offered()).get(params.name)
    if tool is None:
        raise MCPError(
            INVALID_PARAMS, f"Unknown tool. Allowed: {', '.join(name for name, _ in tools.offered())}."
        )
    assert context.request is not None
    try:
        return _result(await tools.call(tool, context.request.scope[_CALL]))
    except ClientLeft:
        return CallToolResult(content=[], is_error=True)
    except Exception as error:  # noqa: BLE001 (the SDK would send its message to the client)
        return _result(refused_by(error).outcome)


def _describe(name: str, tool: tools.Tool) -> Tool:
    return Tool(
        name=name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.arguments(),
        output_schema=tool.result(),
        annotations=ToolAnnotations(
            read_only_hint=not tool.changes,
            destructive_hint=False,
            idempotent_hint=not tool.changes,
            open_world_hint=False,
        ),
    )


def _result(outcome: Outcome) -> CallToolResult:
    """Return the outcome: the image, and the fields for programs and again as text for models."""
    content: list[ContentBlock] = []
    if outcome.picture is not None:
        content.append(ImageContent(data=outcome.picture.b64_data, mime_type=outcome.picture.mime_type))
    content.append(TextContent(text=json.dumps(outcome.fields, ensure_ascii=False)))
    return CallToolResult(content=content, structured_content=outcome.fields, is_error=outcome.is_error)


_SERVER: Final = Server(
    "zekron",
    version="1.0.0",
    title="Zekron Image Generation",
    instructions=_INSTRUCTIONS,
    on_list_tools=_list_tools,
    on_call_tool=_call_tool,
)
