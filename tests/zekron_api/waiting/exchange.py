"""Requests to the waiting room, as a server hands them on, and the worker's part beside them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from django.db import connections

from tests import factories
from workers.lifecycle import generations
from workers.models import Generation, Status
from zekron_api.waiting.asgi_handler import WaitingRoom

# Runs a scenario against a started waiting room.
Serve = Callable[[Callable[[WaitingRoom], Awaitable[None]]], None]


class Exchange:
    """One request to an ASGI application, and what it answered."""

    def __init__(
        self,
        app: Any,
        key: str,
        body: bytes | None = None,
        *,
        method: str = "POST",
        path: str = "/v1/generate",
        **more_headers: str,
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self._incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        content = body if body is not None else json.dumps({"prompt": "x", "size": "1024x1024"}).encode()
        self._incoming.put_nowait({"type": "http.request", "body": content, "more_body": False})
        headers = [
            (b"host", b"localhost"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"authorization", f"Bearer {key}".encode()),
            *((name.replace("_", "-").encode(), value.encode()) for name, value in more_headers.items()),
        ]
        path, _, query = path.partition("?")
        self.scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": headers,
            "query_string": query.encode(),
        }
        self.task = asyncio.create_task(app(self.scope, self._incoming.get, self._send))

    def leave(self) -> None:
        """Close the client's connection."""
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        self.body += message.get("body", b"")


async def until(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after half a minute."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def in_thread(work: Callable[[], Any]) -> Awaitable[Any]:
    """Run what uses the database outside the event loop."""

    def run() -> Any:
        try:
            return work()
        finally:
            connections.close_all()

    return asyncio.to_thread(run)


def complete_all() -> None:
    """Do the worker's part for all that is queued, on the database's clock."""
    for generation in Generation.objects.filter(status=Status.QUEUED):
        running = factories.claim(generation_id=generation.pk)
        generations.complete(generation=running, image=factories.sealed(), cost_micros=running.quote_micros)
