"""Thousands of clients in one process, each a bare socket, so that they cost little beside the server.

`python -m bench.loader PORT` reads one order a line from standard input and answers each with a line, both JSON:

- `{"post": [[key, body], …]}` opens a connection for each, and answers when all requests are sent.
- `{"stream": [[key, body], …]}` does so too, and asks for events.
- `{"steps": count}` waits until this many more events `progress` have come to all streams together.
- `{"answers": count}` waits for this many replies, and gives the status, the id, and the monotonic times of the request
  and of the last byte of each.
- `{"get": [path, key, count]}` sends requests one after the other on one connection, and gives the seconds of each.
"""

import asyncio
import json
import re
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

# Each address has its own ports, and one address has too few for all clients.
SOURCE_ADDRESSES: Final = tuple(f"127.0.0.{last}" for last in range(2, 10))
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ID: Final = re.compile(rb'"id":(\d+)')

Answer = tuple[int, int, float, float]


class Client(asyncio.Protocol):
    """One request, which notes when its reply is complete. A connection that is lost before is status 0."""

    __slots__ = ("_answers", "_asked_at", "_head", "_missing", "_request", "_transport")

    def __init__(self, request: bytes, answers: "asyncio.Queue[Answer]") -> None:
        self._request = request
        self._answers = answers
        self._head = b""
        # The missing bytes of the reply; None until its head has come.
        self._missing: int | None = None

    def connection_made(self, transport: Any) -> None:
        """Send the request."""
        self._transport, self._asked_at = transport, time.monotonic()
        transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Keep the head and the beginning of the body, which holds the id."""
        if self._missing is None:
            self._head += data
            head, blank, body = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            length = _LENGTH.search(head)
            assert length, head
            self._missing = int(length[1]) - len(body)
        else:
            self._missing -= len(data)
        if self._missing <= 0:
            self._end(int(self._head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """Report status 0 if the reply is not complete."""
        if self._missing is None or self._missing > 0:
            self._end(0)

    def _end(self, status: int) -> None:
        self._missing = 0
        found = _ID.search(self._head)
        self._answers.put_nowait((status, int(found[1]) if found else 0, self._asked_at, time.monotonic()))
        self._transport.close()


class Stream(Client):
    """One request for events, which notes each step. It is status 0 unless it ends with an image."""

    __slots__ = ("_is_completed", "_steps")

    def __init__(
        self, request: bytes, answers: "asyncio.Queue[Answer]", steps: "asyncio.Queue[None]"
    ) -> None:
        super().__init__(request, answers)
        self._steps = steps
        self._is_completed = False

    def data_received(self, data: bytes) -> None:
        """Note the steps. The service writes each in one piece, and an empty chunk is the last."""
        for _ in range(data.count(b"\nevent: progress")):
            self._steps.put_nowait(None)
        self._is_completed = self._is_completed or b"\nevent: completed" in data
        if data.endswith(b"\r\n0\r\n\r\n") or data == b"0\r\n\r\n":
            self._end(200 if self._is_completed else 0)


async def post(
    port: int, requests: list[tuple[str, str]], make: Callable[[bytes], Client], accept: str
) -> None:
    """Send all requests, each on a connection of its own."""
    loop = asyncio.get_running_loop()
    for number, (key, body) in enumerate(requests):
        head = (
            f"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Accept: {accept}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        client = make(head.encode())
        source = SOURCE_ADDRESSES[number % len(SOURCE_ADDRESSES)]
        await loop.create_connection(
            partial(_return_client, client), "127.0.0.1", port, local_addr=(source, 0)
        )


def _return_client(client: Client) -> Client:
    return client


async def get(port: int, path: str, key: str, count: int) -> list[float]:
    """Return the seconds of each request, all on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for _ in range(count):
        asked_at = time.monotonic()
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
        writer.write(head.encode())
        head_of_reply = await reader.readuntil(b"\r\n\r\n")
        assert head_of_reply.startswith(b"HTTP/1.1 200"), head_of_reply
        length = _LENGTH.search(head_of_reply)
        assert length
        await reader.readexactly(int(length[1]))
        seconds.append(time.monotonic() - asked_at)
    writer.close()
    return seconds


async def main(port: int) -> None:
    """Carry out orders until standard input ends."""
    answers: asyncio.Queue[Answer] = asyncio.Queue()
    steps: asyncio.Queue[None] = asyncio.Queue()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        done: Any = None
        if "post" in order:
            await post(port, order["post"], partial(Client, answers=answers), "*/*")
        elif "stream" in order:
            make = partial(Stream, answers=answers, steps=steps)
            await post(port, order["stream"], make, "text/event-stream")
        elif "steps" in order:
            for _ in range(order["steps"]):
                await steps.get()
        elif "answers" in order:
            done = [await answers.get() for _ in range(order["answers"])]
        else:
            done = await get(port, *order["get"])
        sys.stdout.write(json.dumps(done) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    asyncio.run(main(int(sys.argv[1])))
