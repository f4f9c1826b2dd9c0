"""The small HTTP server of each process for the inner network: its own metrics, its liveness and its readiness.

It asks neither PostgreSQL nor Redis nor for a token. Several processes on one host need different ports.
"""

import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from django.conf import settings
from prometheus_client import REGISTRY, disable_created_metrics, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from workers import liveness
from workers.messaging import background
from zekron_api.config.env import InvalidVariable

log = logging.getLogger(__name__)

# A client that neither sends nor reads for this long is cut off.
PATIENCE_SECONDS: Final = 5.0
# So is one that keeps its thread for longer than this, a byte at a time. A probe of a hanging loop takes 5 seconds.
REQUEST_SECONDS: Final = 15.0
# More clients at once are cut off, because each has a thread.
MAX_CLIENTS: Final = 8
ACCEPT_PAUSE_SECONDS: Final = 0.1
_TEXT: Final = "text/plain; charset=utf-8"

Check = Callable[[], bool]


def _always() -> bool:
    return True


class MetricsServer(ThreadingHTTPServer):
    """A listening server. Its thread begins with `start`."""

    daemon_threads = True

    def __init__(self, host: str, port: int, *, is_alive: Check = _always, is_ready: Check = _always) -> None:
        """Listen on the port. An empty host means all addresses. Raise OSError for one that cannot be had."""
        super().__init__((host, port), _Handler, bind_and_activate=False)
        # The library's own way to a port asks the name service for the host's name, which may take long.
        self.socket.close()
        self.socket = _listen(host, port)
        self._is_alive, self._is_ready = is_alive, is_ready
        self._places = threading.BoundedSemaphore(MAX_CLIENTS)

    def start(self) -> None:
        """Answer from now on, in a thread that ends with the process."""
        threading.Thread(
            target=liveness.run_watched, args=(self._run,), name="metrics server", daemon=True
        ).start()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Return status, content type and content of the reply for this path."""
        if path == "/metrics":
            return 200, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(REGISTRY)
        if path == "/healthz":
            dead = [*liveness.list_dead(), *([] if self._is_alive() else ["event loop"])]
            return (503, _TEXT, f"dead: {', '.join(dead)}\n".encode()) if dead else (200, _TEXT, b"ok\n")
        if path == "/readyz":
            return (200, _TEXT, b"ok\n") if self._is_ready() else (503, _TEXT, b"not ready\n")
        return 404, _TEXT, b"The paths are /metrics, /healthz and /readyz.\n"

    def get_request(self) -> tuple[Any, Any]:
        """Accept a connection. A process without free files must not try again at once."""
        try:
            return super().get_request()
        except OSError:
            time.sleep(ACCEPT_PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer the request in a thread of its own, or cut it off while there are too many."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the request in this thread, within REQUEST_SECONDS."""
        end = threading.Timer(REQUEST_SECONDS, _cut_off, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log an error of one request. The library would write its message and its traceback to the terminal."""
        error = sys.exc_info()[1]
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        log.log(level, "a request for metrics failed", exc_info=error)

    def _run(self) -> None:
        while True:
            if background.survive(name="metrics server", work=self.serve_forever):
                return
            time.sleep(background.PAUSE_SECONDS)


def start(*, is_alive: Check = _always, is_ready: Check = _always) -> None:
    """Serve on METRICS_PORT, if it is set. End the process with one line if the port cannot be had."""
    if settings.METRICS_PORT is None:
        return
    try:
        server = MetricsServer(
            settings.METRICS_HOST, settings.METRICS_PORT, is_alive=is_alive, is_ready=is_ready
        )
    except OSError as error:
        # Errors of the name service have negative numbers.
        if error.errno == errno.EADDRNOTAVAIL or (error.errno or 0) < 0:
            raise InvalidVariable("METRICS_HOST", "is not an address of this machine") from None
        place = f"the port {settings.METRICS_PORT} of {settings.METRICS_HOST or 'all addresses'}"
        # Python adds the address to the system's reason.
        reason = str(error.strerror).partition(" (")[0]
        raise InvalidVariable("METRICS_PORT", f"names {place}: {reason}") from None
    server.start()


def _listen(host: str, port: int) -> socket.socket:
    if host:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def _cut_off(request: socket.socket) -> None:
    """End a connection whose thread reads or writes. A connection that is closed stays so."""
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """The reply to one request."""

    timeout = PATIENCE_SECONDS
    server: MetricsServer

    def do_GET(self) -> None:
        """Send the reply to a GET."""
        status, content_type, content = self.server.answer(self.path.partition("?")[0])
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Log nothing, because Prometheus and probes ask every few seconds."""


# A second series with the time of creation for each counter and histogram would only cost.
disable_created_metrics()  # type: ignore[no-untyped-call]
