"""Real receivers of webhooks on this machine, which keep what they get and reply as a test says."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

# A reply writes to the connection by itself.
Reply = Callable[[BaseHTTPRequestHandler], None]


class Received(NamedTuple):
    """A request as it arrived."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """A server that counts its requests. `reply` may be replaced while it runs."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.reply: Reply = status(200)
        self.server_names: list[str | None] = []
        self._arrived = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with receiver._arrived:
                    receiver.received.append(Received(self.path, headers, body))
                    receiver._arrived.notify_all()
                try:
                    receiver.reply(self)
                except (BrokenPipeError, ConnectionResetError):
                    # The sender has had enough.
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Write nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"

    def wait_for(self, count: int, *, seconds: float = 30) -> list[Received]:
        """Return what was received, once it is at least so much."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.received) >= count, seconds), len(self.received)
            return list(self.received)

    def use_tls(self, certificate: Path) -> None:
        """Speak TLS from now on, and keep the names that clients ask for."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)


@contextmanager
def running() -> Iterator[Receiver]:
    """Run a receiver while the block runs."""
    receiver = Receiver()
    thread = threading.Thread(target=receiver.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield receiver
    finally:
        receiver.server.shutdown()
        receiver.server.server_close()
        thread.join()


def status(code: int, headers: Mapping[str, str] = {}, body: bytes = b"ok") -> Reply:
    """Return a reply of this status."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply
