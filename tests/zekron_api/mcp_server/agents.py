"""Agents: the official Python client of MCP, connected to a waiting room, and raw messages beside it."""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

from tests.zekron_api.asgi_client import Header, Reply, Served
from tests.zekron_api.waiting.exchange import Exchange
from zekron_api.waiting.asgi_handler import WaitingRoom

# The two forms of the protocol: with a handshake, and without one since 2026.
MODES = ("legacy", "2026-07-28")
TIMEOUT_SECONDS = 120
ACCEPT = "application/json, text/event-stream"


def agent(app: WaitingRoom, key: str, *, mode: str = "auto") -> AbstractAsyncContextManager[Client]:
    """Connect the client to a waiting room in this process."""
    transport = httpx2.ASGITransport(app)  # type: ignore[arg-type] # the room is an application of ASGI
    return connected("http://localhost/mcp", key, mode=mode, transport=transport)


@asynccontextmanager
async def connected(
    url: str, key: str, *, mode: str = "auto", transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncIterator[Client]:
    """Connect the client with this key."""
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(transport=transport, headers=headers, timeout=TIMEOUT_SECONDS) as http_client,
        Client(streamable_http_client(url, http_client=http_client), mode=mode) as client,
    ):
        yield client


def message(app: WaitingRoom, key: str, method: str, params: dict[str, Any] | None = None) -> Exchange:
    """Send one message as a client without a handshake does."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return Exchange(app, key, json.dumps(body).encode(), path="/mcp", accept=ACCEPT)


def post(room: Served, bearer: Header, body: bytes, *more: Header, accept: str = ACCEPT) -> Reply:
    """Send a body as a message to a room that takes requests header by header."""
    headers = [bearer, ("content-type", "application/json"), ("accept", accept), *more]
    return room.send("POST", "/mcp", headers, body)


def call(room: Served, bearer: Header, tool: str, arguments: dict[str, Any]) -> Any:
    """Return the result of a tool, as it is on the wire."""
    params = {"name": tool, "arguments": arguments}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}).encode()
    return post(room, bearer, body).json()["result"]
