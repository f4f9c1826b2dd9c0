"""Thousands of clients in one process, each a bare socket, so that they cost little beside the server they wait for.

`python -m bench.loader PORT` takes one order a line of standard input and answers each with a line, as JSON:
`{"post": [[key, body], …]}` opens a connection for each and says when all requests are sent; `{"answers": count}` waits
until so many replies have come since the last time, and gives status, id, and the moments of asking and of the last
byte; `{"get": [path, key, count]}` asks one after the other on one connection and gives the seconds of each.
"""

import asyncio
import json
import re
import resource
import sys
import time
from functools import partial
from typing import Any, Final

# Each of them has ports of its own, and one has too few for everybody.
SOURCE_ADDRESSES: Final = tuple(f"127.0.0.{last}" for last in range(2, 10))
_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ID: Final = re.compile(rb'"id":(\d+)')

Answer = tuple[int, int, float, float]


class Client(asyncio.Protocol):
    """Sends one request and notes when its reply was whole; a connection that is lost before is status 0."""

    __slots__ = ("_answers", "_asked_at", "_head", "_missing", "_request", "_transport")

    def __init__(self, request: bytes, answers: "asyncio.Queue[Answer]") -> None:
        self._request = request
        self._answers = answers
        self._head = b""
        # Of the reply, in bytes; None until its head has come.
        self._missing: int | None = None

    def connection_made(self, transport: Any) -> None:
        """Sends the request."""
        self._transport, self._asked_at = transport, time.monotonic()
        transport.write(self._request)
        self._request = b""

    def data_received(self, data: bytes) -> None:
        """Keeps the head and the beginning of the body, in which the id is."""
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
        """Too early, or after the reply."""
        if self._missing is None or self._missing > 0:
            self._end(0)

    def _end(self, status: int) -> None:
        self._missing = 0
        found = _ID.search(self._head)
        self._answers.put_nowait((status, int(found[1]) if found else 0, self._asked_at, time.monotonic()))
        self._transport.close()


async def post(port: int, requests: list[tuple[str, str]], answers: "asyncio.Queue[Answer]") -> None:
    """Sends all of them, each on a connection of its own."""
    loop = asyncio.get_running_loop()
    for number, (key, body) in enumerate(requests):
        head = (
            f"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        )
        client = Client(head.encode(), answers)
        source = SOURCE_ADDRESSES[number % len(SOURCE_ADDRESSES)]
        await loop.create_connection(partial(_itself, client), "127.0.0.1", port, local_addr=(source, 0))


def _itself(client: Client) -> Client:
    return client


async def get(port: int, path: str, key: str, count: int) -> list[float]:
    """Seconds of each request, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    seconds = []
    for _ in range(count):
        asked_at = time.monotonic()
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n\r\n"
        writer.write(head.encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        assert answered.startswith(b"HTTP/1.1 200"), answered
        length = _LENGTH.search(answered)
        assert length
        await reader.readexactly(int(length[1]))
        seconds.append(time.monotonic() - asked_at)
    writer.close()
    return seconds


async def main(port: int) -> None:
    """Carries out orders until there are no more."""
    answers: asyncio.Queue[Answer] = asyncio.Queue()
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        done: Any = None
        if "post" in order:
            await post(port, order["post"], answers)
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
