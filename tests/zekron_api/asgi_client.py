"""A waiting room that runs in a thread of the test, and takes requests as a server hands them on: header by header."""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from zekron_api.waiting.asgi_handler import WaitingRoom

Header = tuple[str | bytes, str | bytes]


@dataclass(frozen=True)
class Reply:
    """A response that a client got. A header's name is its index, as it is in Django's responses."""

    status_code: int
    headers: dict[str, str]
    content: bytes

    def __getitem__(self, name: Any) -> str:
        return self.headers[name.lower()]

    def json(self) -> Any:
        return json.loads(self.content)


class Served:
    """A started waiting room."""

    def __init__(self, app: WaitingRoom, loop: asyncio.AbstractEventLoop) -> None:
        self._app, self._loop = app, loop

    def send(
        self,
        method: str,
        target: str,
        headers: Iterable[Header] = (),
        body: bytes = b"",
        *,
        chunked: bool = False,
    ) -> Reply:
        """Return the reply to one request; the body's length is sent unless it comes in chunks."""
        parts = [body[start : start + 4096] for start in range(0, len(body), 4096)] if chunked else [body]
        messages = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
        messages[-1:] = [{"type": "http.request", "body": parts[-1] if parts else b"", "more_body": False}]
        length: list[Header] = [] if chunked or not body else [("content-length", str(len(body)))]
        return self._result(method, target, [*headers, *length], messages)

    def send_without_end(self, method: str, target: str, headers: Iterable[Header], part: bytes) -> Reply:
        """Return the reply to a request whose body begins with `part`, and of which nothing more comes."""
        messages = [{"type": "http.request", "body": part, "more_body": True}]
        return self._result(method, target, headers, messages)

    def _result(self, method: str, target: str, headers: Iterable[Header], messages: list[Any]) -> Reply:
        path, _, query = target.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(path),
            "query_string": query.encode("latin-1"),
            "headers": [
                (_bytes(name).lower(), _bytes(value)) for name, value in (("host", "localhost"), *headers)
            ],
        }
        exchange = asyncio.run_coroutine_threadsafe(_exchange(self._app, scope, messages), self._loop)
        return exchange.result(timeout=60)


@contextmanager
def served() -> Iterator[Served]:
    """Start a waiting room and stop it, as a server does."""
    loop, app = asyncio.new_event_loop(), WaitingRoom()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    started = threading.Event()

    async def hear(message: dict[str, Any]) -> None:
        started.set()

    life = asyncio.run_coroutine_threadsafe(app({"type": "lifespan"}, incoming.get, hear), loop)
    loop.call_soon_threadsafe(incoming.put_nowait, {"type": "lifespan.startup"})
    assert started.wait(30)
    try:
        yield Served(app, loop)
    finally:
        loop.call_soon_threadsafe(incoming.put_nowait, {"type": "lifespan.shutdown"})
        life.result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _exchange(app: WaitingRoom, scope: dict[str, Any], messages: list[Any]) -> Reply:
    sent: list[dict[str, Any]] = []
    never = asyncio.Event()

    async def receive() -> Any:
        if not messages:
            await never.wait()
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent))


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
