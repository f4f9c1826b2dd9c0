"""Connections over a real socket: offers of other protocols, half-closes, bytes that are not HTTP."""

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import NamedTuple

import pytest
import uvicorn
from django.db import connections

from tests import factories, processes
from tests.zekron_api.callers import Caller
from tests.zekron_api.waiting.exchange import complete_all
from workers.lifecycle import generations, image_tokens
from workers.models import Generation
from zekron_api.waiting import sending
from zekron_api.waiting.asgi_handler import WaitingRoom
from zekron_api.waiting.http_connection import HttpConnection

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("idle_worker")]
OFFERS = {
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n",
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    "unknown": "Upgrade: morse/1, smoke\r\nConnection: upgrade\r\n",
    "none": "Connection: Upgrade\r\n",
}
# The service must read this body to find this error.
BODY = json.dumps({"prompt": "x" * 300, "size": "7x7"}).encode()
PATIENCE_SECONDS = 60
# More than a system keeps of a connection whose client reads nothing.
LARGE_BYTES = 8_000_000


class Reply(NamedTuple):
    """A reply as it came over the wire."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def error_type(self) -> str:
        return str(json.loads(self.content)["error"]["type"])


class Live(NamedTuple):
    """A uvicorn in this process that serves a waiting room."""

    room: WaitingRoom
    address: tuple[str, int]
    server: uvicorn.Server

    @contextmanager
    def connect(self) -> Iterator["Client"]:
        with socket.create_connection(self.address, PATIENCE_SECONDS) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Client(connection)
            yield client
            client.close()


class Client:
    """A client that writes and reads bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._file = connection.makefile("rb")

    def send(self, *parts: bytes) -> None:
        """Send each part in a write of its own."""
        for part in parts:
            self.connection.sendall(part)
            time.sleep(0.01)

    def read(self) -> Reply:
        """Return the next reply, which has a length."""
        status = int(self._file.readline().split()[1])
        headers: dict[str, str] = {}
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return Reply(status, headers, self._file.read(int(headers["content-length"])))

    def close(self) -> None:
        self._file.close()

    def is_closed(self) -> bool:
        """Wait for the next byte or the end; return whether it is the end."""
        return self._file.read(1) == b""


@pytest.fixture
def live() -> Iterator[Live]:
    """Serve a waiting room by uvicorn, with the connections that the Procfile names."""
    room = WaitingRoom()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            room, http=HttpConnection, log_config=None, access_log=False, timeout_graceful_shutdown=10
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        processes.wait_until(lambda: server.started)
        yield Live(room, listener.getsockname(), server)
        server.should_exit = True
        thread.join()


def post(me: Caller, more: str = "", body: bytes = BODY) -> bytes:
    """Return a POST of this body with its length."""
    return _head(me, f"{more}Content-Length: {len(body)}\r\n") + body


def post_in_chunks(me: Caller, more: str = "", body: bytes = BODY) -> bytes:
    """Return a POST of this body in chunks."""
    chunks = [body[start : start + 100] for start in range(0, len(body), 100)]
    content = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return _head(me, f"{more}Transfer-Encoding: chunked\r\n") + content + b"0\r\n\r\n"


def get(me: Caller, more: str = "") -> bytes:
    """Return a GET of the balance."""
    return f"GET /v1/balance HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {me.key}\r\n{more}\r\n".encode()


def generate(me: Caller) -> bytes:
    """Return a valid order, whose client waits."""
    return post(me, body=b'{"prompt": "a boat", "size": "512x512"}')


def _head(me: Caller, more: str) -> bytes:
    lines = f"Host: localhost\r\nAuthorization: Bearer {me.key}\r\nContent-Type: application/json\r\n{more}"
    return f"POST /v1/generate HTTP/1.1\r\n{lines}\r\n".encode()


def whole(request: bytes) -> Sequence[bytes]:
    return [request]


def head_and_body(request: bytes) -> Sequence[bytes]:
    end = request.index(b"\r\n\r\n") + 4
    return [request[:end], request[end:]]


def pieces(request: bytes) -> Sequence[bytes]:
    return [request[start : start + 37] for start in range(0, len(request), 37)]


@pytest.mark.parametrize("cut", [whole, head_and_body, pieces])
@pytest.mark.parametrize("build", [post, post_in_chunks])
@pytest.mark.parametrize("offer", OFFERS)
def test_an_offer_of_another_protocol_is_ignored_and_the_connection_goes_on(
    live: Live,
    me: Caller,
    offer: str,
    build: Callable[[Caller, str], bytes],
    cut: Callable[[bytes], Sequence[bytes]],
) -> None:
    with live.connect() as client:
        for _ in range(2):
            client.send(*cut(build(me, OFFERS[offer])))
            refused = client.read()
            assert (refused.status, refused.error_type) == (400, "invalid_size")
        client.send(get(me, OFFERS[offer]))
        assert client.read().status == 200
        client.send(get(me))
        assert client.read().status == 200


def test_what_follows_an_offer_in_the_same_write_is_the_next_request(live: Live, me: Caller) -> None:
    requests = [post(me, OFFERS["h2c"]), get(me, OFFERS["websocket"]), post_in_chunks(me, OFFERS["unknown"])]
    with live.connect() as client:
        client.send(b"".join([*requests, get(me)]))
        assert [client.read().status for _ in range(4)] == [400, 200, 400, 200]


def test_a_client_that_offers_and_wants_to_close_gets_its_reply_and_the_end(live: Live, me: Caller) -> None:
    with live.connect() as client:
        client.send(post(me, "Upgrade: h2c\r\nConnection: close, Upgrade\r\n"))
        reply = client.read()
        assert (reply.error_type, reply.headers["connection"]) == ("invalid_size", "close")
        assert client.is_closed()


def test_a_client_that_offers_and_asks_before_it_sends_its_body_is_told_to_send(
    live: Live, me: Caller
) -> None:
    head, body = head_and_body(post(me, OFFERS["h2c"] + "Expect: 100-continue\r\n"))
    with live.connect() as client:
        client.send(head)
        assert client.connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.send(body)
        assert client.read().error_type == "invalid_size"


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nX: a\r\n b: c\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_bytes_that_are_not_http_are_refused_in_the_envelope(live: Live, sent: bytes) -> None:
    with live.connect() as client:
        client.send(sent)
        reply = client.read()
        assert (reply.status, reply.error_type) == (400, "bad_request")
        assert (reply.headers["content-type"], reply.headers["connection"]) == ("application/json", "close")
        assert client.is_closed()


def test_a_body_that_is_not_http_gets_no_second_reply(live: Live, me: Caller) -> None:
    head = head_and_body(post_in_chunks(me).replace(me.key.encode(), b"zk_unknown"))[0]
    content = b"%x\r\n%s\r\n" % (2_000_000, b"x" * 2_000_000)
    with live.connect() as client:
        client.send(head, content)
        assert client.read().status == 401
        client.send(b"this is no chunk\r\n")
        assert client.is_closed()


def waiting(live: Live, count: int = 1) -> None:
    """Return once this many clients wait for a generation."""
    processes.wait_until(lambda: len(live.room.waiters) == count)


def complete() -> None:
    """Do the worker's part, in a thread as a worker would."""
    work: Future[None] = Future()

    def run() -> None:
        try:
            complete_all()
            work.set_result(None)
        finally:
            connections.close_all()

    threading.Thread(target=run).start()
    work.result(PATIENCE_SECONDS)


@pytest.mark.parametrize("after", [b"no HTTP at all\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n"])
def test_a_paid_reply_comes_although_the_client_sent_nonsense_after_its_request(
    live: Live, me: Caller, after: bytes
) -> None:
    with live.connect() as client:
        client.send(generate(me))
        waiting(live)
        client.send(after)
        complete()
        assert client.read().status == 200
        assert client.is_closed()


def test_a_client_that_closes_its_sending_side_gets_its_reply(live: Live, me: Caller) -> None:
    with live.connect() as client:
        client.send(generate(me))
        waiting(live)
        client.connection.shutdown(socket.SHUT_WR)
        with live.connect() as other:
            other.send(get(me))
            assert other.read().status == 200
        assert len(live.room.waiters) == 1
        complete()
        reply = client.read()
        assert (reply.status, json.loads(reply.content)["data"]["size"]) == (200, "512x512")
        assert client.is_closed()


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
def test_a_retry_of_a_client_that_closed_its_connection_gets_the_image_of_its_first_try(
    live: Live, me: Caller, is_reset: bool
) -> None:
    request = generate(me)
    with socket.create_connection(live.address, PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        waiting(live)
        if is_reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    processes.wait_until(Generation.objects.filter(client_lost_at__isnull=False).exists)
    with live.connect() as client:
        client.send(request.replace(b"\r\n", b"\r\nx-stainless-retry-count: 1\r\n", 1))
        processes.wait_until(lambda: not Generation.objects.filter(client_lost_at__isnull=False).exists())
        complete()
        reply = client.read()
    assert (reply.status, reply.headers["x-zekron-retry-attached"]) == (200, "true")
    assert Generation.objects.count() == 1


def test_every_complete_request_before_a_half_close_is_answered(live: Live, me: Caller) -> None:
    with live.connect() as client:
        client.send(generate(me) + post(me) + post_in_chunks(me, OFFERS["h2c"]))
        client.connection.shutdown(socket.SHUT_WR)
        waiting(live)
        complete()
        assert [client.read().status for _ in range(3)] == [200, 400, 400]
        assert client.is_closed()


def test_a_request_that_a_half_close_cuts_off_is_not_served(live: Live, me: Caller) -> None:
    with live.connect() as client:
        client.send(generate(me)[:-4])
        client.connection.shutdown(socket.SHUT_WR)
        assert client.is_closed()
    with live.connect() as client:
        client.send(generate(me) + generate(me)[:-4])
        waiting(live)
        client.connection.shutdown(socket.SHUT_WR)
        complete()
        assert client.read().status == 200
        assert client.is_closed()
    assert Generation.objects.count() == 1


def test_an_idle_connection_ends_with_a_half_close(live: Live, me: Caller) -> None:
    with live.connect() as client:
        client.send(get(me))
        assert client.read().status == 200
        client.connection.shutdown(socket.SHUT_WR)
        assert client.is_closed()


def test_a_client_that_does_not_read_is_cut_off_from_the_rest_of_its_reply(
    live: Live, me: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sending, "BASE_REPLY_SECONDS", 0.1)
    monkeypatch.setattr(sending, "MIN_REPLY_BYTES_PER_SECOND", 10**9)
    caplog.set_level("INFO")
    path = _path_of_image(me, bytes(LARGE_BYTES))
    with socket.socket() as connection:
        # The system of neither side may keep the whole reply.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(live.address)
        connection.settimeout(PATIENCE_SECONDS)
        connection.sendall(get(me).replace(b"/v1/balance", path.encode()))
        processes.wait_until(lambda: "too slowly and was cut off" in caplog.text)
        # A connection that is closed, and not cut off, stays until its client has read what was written.
        processes.wait_until(lambda: not live.server.server_state.connections)
        received = b""
        with suppress(ConnectionResetError):
            while part := connection.recv(100_000):
                received += part
    assert received.startswith(b"HTTP/1.1 200")
    assert b"content-length: %d\r\n" % LARGE_BYTES in received.lower()
    assert len(received) < LARGE_BYTES


def _path_of_image(me: Caller, content: bytes) -> str:
    """Return the path of an image of the caller with this content."""
    running = factories.claim(generation_id=factories.submit(me.account, now=None).pk)
    image = factories.sealed(content)
    generations.complete(generation=running, image=image, cost_micros=running.quote_micros)
    return f"/v1/images/{image_tokens.token_of(generation_id=running.pk)}"


def test_the_procfile_starts_uvicorn_with_these_connections() -> None:
    procfile = (processes.ROOT / "Procfile").read_text()
    assert re.search(
        rf"^web: .* --http {HttpConnection.__module__}:{HttpConnection.__name__} ", procfile, re.M
    )
