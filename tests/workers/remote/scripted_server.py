"""A server of images that replies what a test says, and remembers what it was asked."""

import base64
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from PIL import Image
from python_multipart.multipart import FormParser, parse_options_header

LONG_SECONDS = 60


class Asked(NamedTuple):
    """A request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> tuple[dict[str, str], list[tuple[str, bytes]]]:
        """The fields of a form, and its files by name."""
        fields: dict[str, str] = {}
        files: list[tuple[str, bytes]] = []

        def add_file(file: Any) -> None:
            file.file_object.seek(0)
            files.append((file.field_name.decode(), file.file_object.read()))

        kind, options = parse_options_header(self.headers["content-type"])
        parser = FormParser(
            kind.decode(),
            lambda field: fields.update({field.field_name.decode(): field.value.decode()}),
            add_file,
            boundary=options[b"boundary"],
        )
        parser.write(self.body)
        parser.finalize()
        return fields, files


class Reply(NamedTuple):
    """A reply, or with `hangs` none until the client has closed the connection."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = {}
    hangs: bool = False


def picture(*, size: tuple[int, int] = (64, 64), file_format: str = "PNG", colour: str = "teal") -> Reply:
    """Return the reply with a picture."""
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, file_format)
    return encoded(out.getvalue())


def encoded(file: bytes) -> Reply:
    """Return the reply with these bytes as a picture's file."""
    return Reply(body=json.dumps({"data": [{"b64_json": base64.b64encode(file).decode()}]}).encode())


def refusal(status: int, *, code: object = None, **headers: str) -> Reply:
    """Return an error in OpenAI's form, whose message quotes the prompt."""
    error = {"message": "a secret prompt is not allowed", "type": "invalid_request_error", "code": code}
    return Reply(status, json.dumps({"error": error}).encode(), headers)


class ScriptedServer:
    """The server's address, the requests that it got, and the replies that it gives in turn and then for ever."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Reply] = lambda _: picture()
        self.closed = threading.Semaphore(0)
        self.url = ""

    def reply_in_turn(self, *replies: Reply) -> None:
        """Give these replies, one for each request. The last one stays."""
        left = list(replies)
        self.answer = lambda _: left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def running() -> Iterator[ScriptedServer]:
    """Run a server while the block runs."""
    script = ScriptedServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])))

        def _answer(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            script.asked.append(asked := Asked(self.command, self.path, headers, body))
            reply = script.answer(asked)
            if reply.hangs:
                self.connection.settimeout(LONG_SECONDS)
                if self.connection.recv(1) == b"":
                    script.closed.release()
                return
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(reply.body))}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        script.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()
