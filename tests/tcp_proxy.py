"""A proxy before a server's socket that freezes, refuses and cuts, as a network between two hosts does."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

Connect = Callable[[], socket.socket]


class Proxy:
    """A proxy that listens on a port, by default of localhost. It passes each connection on to one of `connect`."""

    def __init__(self, connect: Connect, *, host: str = "127.0.0.1", port: int = 0) -> None:
        self._connect = connect
        self._host = host
        self._passing = threading.Event()
        self._passing.set()
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((host, port), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self._accepting = self._start()

    def freeze(self) -> None:
        """Go on to accept connections and bytes, and pass nothing on."""
        self._passing.clear()

    def thaw(self) -> None:
        """Pass everything on again, also what came meanwhile."""
        self._passing.set()

    def cut(self) -> None:
        """Close every connection, and refuse new ones."""
        # A blocked accept does not notice that its socket is closed.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._sockets.clear()
        self._passing.set()

    def restore(self) -> None:
        """Accept connections again, on the same port."""
        self._listener = socket.create_server((self._host, self.port), backlog=200)
        self._accepting = self._start()

    def serve(self) -> None:
        """Pass on what comes until the process ends."""
        self._accepting.join()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                outside, _ = listener.accept()
                threading.Thread(target=self._serve, args=(outside,), daemon=True).start()

    def _serve(self, outside: socket.socket) -> None:
        with suppress(OSError), outside:
            self._passing.wait()
            with self._connect() as inside:
                with self._lock:
                    self._sockets += [outside, inside]
                back = threading.Thread(target=self._pump, args=(inside, outside), daemon=True)
                back.start()
                self._pump(outside, inside)
                back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._passing.wait()
                sink.sendall(data)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def to_unix_socket(path: Path) -> Connect:
    """Return a function that connects to the unix socket."""

    def connect() -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(path))
        return connection

    return connect


@contextmanager
def before(connect: Connect) -> Iterator[Proxy]:
    """Run a proxy while the block runs, and cut its connections at the end."""
    proxy = Proxy(connect)
    try:
        yield proxy
    finally:
        with suppress(OSError):
            proxy.cut()


def _to(target: str) -> Connect:
    """Return a function that connects to the unix socket, or to a host and a port with a colon between."""
    host, _, port = target.rpartition(":")
    return partial(socket.create_connection, (host, int(port))) if host else to_unix_socket(Path(target))


if __name__ == "__main__":
    Proxy(_to(sys.argv[3]), host=sys.argv[1], port=int(sys.argv[2])).serve()
