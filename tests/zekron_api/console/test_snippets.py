"""The programs of the playground do what they show: each sends the form's values, however they are written."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from django.test import RequestFactory

from tests.zekron_api.console import scripts
from zekron_api.console import snippets

NASTY = (
    'It\'s "quoted" \\ $HOME ${HOME} {$x} `id` $(id) %s\n\ttab \r end\u2028 日本 🎨 \u00a0 // <request>'
    " http://localhost:8000 image-0.png </script> # <names> '; exit 1; '"
)
REQUEST = {
    "prompt": NASTY,
    "model": "zekron-image-1",
    "size": "512x768",
    "n": 2,
    "seed": 7,
    "negative_prompt": "$fog 'n' \\",
    "output_format": "webp",
}
NAMES = ['it\'s $1 "a".png', "b.png"]
PICTURE = b"the picture"
RUNNERS = {
    "curl": (["bash"], ["bash", "-c", "command -v curl && command -v jq"]),
    "python": ([sys.executable], ["true"]),
    "node": (["node"], ["node", "-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"]),
    "php": (["php"], ["php", "-r", "exit(extension_loaded('curl') ? 0 : 1);"]),
    "openai": ([sys.executable], ["true"]),
}


class Service(HTTPServer):
    """A service that notes each request and makes two pictures."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Service

    def do_POST(self) -> None:
        """Note the request, and reply with two pictures in the form of its route."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        encoded = base64.b64encode(PICTURE).decode()
        made = [{"index": index, "image": {"b64_json": encoded}} for index in range(2)]
        reply: dict[str, Any] = {"success": True, "data": {"image": made[0]["image"], "images": made}}
        if "/images/" in self.path:
            reply = {"created": 1, "data": [{"b64_json": encoded}] * 2}
        content = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def whole_service() -> Iterator[Service]:
    with Service() as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.02,))
        thread.start()
        yield service
        service.shutdown()
        thread.join()


@pytest.fixture
def service(whole_service: Service) -> Service:
    whole_service.requests.clear()
    return whole_service


@pytest.fixture(scope="module")
def filled(whole_service: Service) -> dict[tuple[str, bool], str]:
    """Return each program with the nasty values, by its name and by whether it edits."""
    keys, calls = [], []
    for name, program in snippets.programs().items():
        for names in ([], NAMES):
            text = program["edit"] if names and program["edit"] else program["text"]
            keys.append((name, bool(names)))
            url = f"http://127.0.0.1:{whole_service.server_port}"
            given = {"language": program["language"], "request": REQUEST, "names": names, "url": url}
            calls.append([text, given])
    return dict(zip(keys, scripts.call("snippets.js", "fill", *calls), strict=True))


def run(name: str, text: str, folder: Path) -> None:
    """Run the text of a program in the folder."""
    command, check = RUNNERS[name]
    try:
        subprocess.run(check, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip(f"what runs the program for {name} is not on this machine")
    file = folder / {"node": "program.mjs"}.get(name, "program")
    file.write_text(text)
    for each in NAMES:
        (folder / each).write_bytes(each.encode())
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "ZEKRON_API_KEY": "zk_live_x"}
    ended = subprocess.run(
        [*command, str(file)], cwd=folder, env=environment, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, b""), ended.stderr.decode()


@pytest.mark.parametrize("name", list(RUNNERS))
def test_a_program_sends_what_the_form_holds(
    name: str, service: Service, filled: dict[tuple[str, bool], str], tmp_path: Path
) -> None:
    run(name, filled[name, False], tmp_path)
    [(path, headers, body)] = service.requests
    assert path == ("/v1/images/generations" if name == "openai" else "/v1/generate")
    assert headers["authorization"] == "Bearer zk_live_x"
    assert json.loads(body) == REQUEST
    assert [(tmp_path / f"image-{index}.webp").read_bytes() for index in range(2)] == [PICTURE] * 2


@pytest.mark.parametrize("name", [name for name in RUNNERS if name != "openai"])
def test_a_program_sends_the_images_to_edit(
    name: str, service: Service, filled: dict[tuple[str, bool], str], tmp_path: Path
) -> None:
    run(name, filled[name, True], tmp_path)
    [(_, headers, body)] = service.requests
    sent = json.loads(body)
    images = [base64.b64decode(image["data"]) for image in sent.pop("images")]
    assert (sent, images) == (REQUEST, [each.encode() for each in NAMES])
    assert headers["idempotency-key"]


def test_the_program_for_openai_sends_the_images_to_edit(
    service: Service, filled: dict[tuple[str, bool], str], tmp_path: Path
) -> None:
    run("openai", filled["openai", True], tmp_path)
    [(path, headers, body)] = service.requests
    assert path == "/v1/images/edits"
    form = RequestFactory().post(path, body, content_type=headers["content-type"])
    assert form.POST.dict() == {field: str(value) for field, value in REQUEST.items()}
    assert [file.read() for file in form.FILES.getlist("image[]")] == [each.encode() for each in NAMES]


@pytest.mark.parametrize("name", [name for name in RUNNERS if name != "openai"])
def test_an_example_sends_its_own_request_when_nobody_has_filled_it(
    name: str, service: Service, tmp_path: Path
) -> None:
    text = str(snippets.programs()[name]["text"])
    run(name, text.replace("http://localhost:8000", f"http://127.0.0.1:{service.server_port}"), tmp_path)
    sent = json.loads(service.requests[0][2])
    assert sent["size"] == "1024x1024"
    assert sent.get("images", []) == []
