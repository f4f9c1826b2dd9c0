"""The examples as a reader runs them: against a live service, and against one that is busy, hangs up, or refuses."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image

from tests import processes
from workers.models import Generation

# What runs the files of each ending, and what ends with status 0 where all that they need is on the machine.
LANGUAGES = {
    "sh": (["bash"], ["bash", "-c", "command -v curl && command -v jq"]),
    "py": ([sys.executable], [sys.executable, "-c", "import requests"]),
    "mjs": (["node"], ["node", "-e", "process.exit(typeof fetch === 'function' ? 0 : 1)"]),
    "php": (["php"], ["php", "-r", "exit(defined('CURLINFO_RETRY_AFTER') ? 0 : 1);"]),
}
NAMES = ("create", "edit", "variants", "submit", "watch")
FILES = [f"{name}.{language}" for language in LANGUAGES for name in NAMES]
# Those that do not wait on an open request.
ASYNC_NAMES = ("submit", "watch")
CODE = re.compile(r"\(([A-Z0-9_]+)_[0-9A-F]{6}_\d{10}\)")

PNG = b"\x89PNG\r\n\x1a\n and so on"
DATA = {
    "id": 42,
    "image": {"b64_json": base64.b64encode(PNG).decode()},
    "cost": "0.0267",
    "remaining_balance": "9.9733",
    # A reply to a request for several images has these beside the first of them.
    "images": [{"index": 0, "seed": 7, "image": {"b64_json": base64.b64encode(PNG).decode()}}],
    "total_cost": "0.0267",
}
ERROR = {"message": "Come back later.", "code": "SERVICE_BUSY_7F3A9C_1712505600"}
MADE = json.dumps({"success": True, "data": DATA}).encode()
# What the fake service tells of a generation that was submitted: first that it is open, then its end.
RUNNING = {"id": 42, "status": "running", "error": None, "token": None, "cost": None}
COMPLETED = {**RUNNING, "status": "completed", "token": "0f" * 32, "cost": "0.0267"}
FAILED = {**RUNNING, "status": "failed", "error": ERROR}
OPEN_EVENTS = (
    b'retry: 2000\n\nid: 1\nevent: status\ndata: {"status": "running", "queue": null}\n\n: heartbeat\n\n'
    b'id: 1\nevent: progress\ndata: {"step": 2, "steps": 4, "fraction": 0.5}\n\n'
)
BUSY = json.dumps({"success": False, "error": ERROR}).encode()
# Longer than any example waits by itself after the first try.
RETRY_AFTER_SECONDS = 2


class Reply(NamedTuple):
    """A reply of the fake service to one request."""

    status: int
    retry_after_seconds: int | None = None


HANG_UP = None
MADE_AT_LAST = (Reply(429, RETRY_AFTER_SECONDS), HANG_UP, Reply(503, 1), Reply(200))


class Request(NamedTuple):
    """A request that the fake service was sent."""

    at: float
    headers: dict[str, str]
    body: bytes


class Outcome(NamedTuple):
    """The end of an example, after which requests."""

    status: int
    stdout: str
    stderr: str
    folder: Path
    requests: list[Request]
    paths: list[str]


class FakeService(HTTPServer):
    """Gives its replies in turn, and the last one to all that come after it; `make` gives what a 200 says."""

    def __init__(
        self, replies: Sequence[Reply | None], make: Callable[[Request], bytes], end: dict[str, Any]
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replies = replies
        self.make = make
        self.end = end
        self.requests: list[Request] = []
        # The reads of the generation, of its events and of its image.
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FakeService

    def do_POST(self) -> None:
        """Note the request, make what it asks for, and give the next reply."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Request(time.monotonic(), dict(self.headers), body)
        self.server.requests.append(request)
        made = self.server.make(request)
        reply = self.server.replies[min(len(self.server.requests), len(self.server.replies)) - 1]
        if reply is not HANG_UP:
            self._send(reply, made if reply.status == 200 else BUSY)

    def do_GET(self) -> None:
        """Tell that the generation is open, hang up, and then tell its end; send the image."""
        path = self.path.partition("?")[0]
        self.server.paths.append(path)
        count = self.server.paths.count(path)
        if count == 2 and path.startswith("/v1/generations/"):
            return
        if path.endswith("/events"):
            data, name = json.dumps(self.server.end), self.server.end["status"]
            end = f"id: 2\nevent: {name}\ndata: {data}\n\n".encode()
            self._send(Reply(200), OPEN_EVENTS + (b"" if count == 1 else end))
        elif path.startswith("/v1/generations/"):
            body = {"success": True, "data": RUNNING if count == 1 else self.server.end}
            self._send(Reply(200), json.dumps(body).encode())
        else:
            self._send(Reply(200), PNG)

    def _send(self, reply: Reply, content: bytes) -> None:
        self.send_response(reply.status)
        if reply.retry_after_seconds is not None:
            self.send_header("Retry-After", str(reply.retry_after_seconds))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def made_at_last(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every example on a service that is busy, then hangs up, then is busy again, and then makes the image."""
    return _all_against(MADE_AT_LAST, tmp_path_factory)


@pytest.fixture(scope="module")
def never_made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Every example on a service that is always busy."""
    return _all_against([Reply(503, 1)], tmp_path_factory)


@pytest.fixture
def service(tmp_path: Path, objects_folder: Path) -> Iterator[processes.Server]:
    """Run a live service with a worker, and give it an account with a key."""
    with processes.worker(), processes.running(folder=tmp_path, objects_folder=objects_folder) as stack:
        yield processes.ready(stack.url)


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_create_and_its_edits_are_made_and_a_refusal_is_told_by_its_code(
    language: str, service: processes.Server, tmp_path: Path
) -> None:
    _skip_without(language)
    example = partial(_run, folder=tmp_path, ZEKRON_URL=service.url, ZEKRON_API_KEY=service.key)

    created = example(f"create.{language}", 'A "quoted" \\ prompt, 日本', "made here.png")
    assert (created.returncode, created.stderr) == (0, "")
    assert created.stdout == "made here.png: cost 0.0267 USD, remaining balance 9.9733 USD\n"
    edited = example(f"edit.{language}", "Add a rainbow", "made here.png", "edited.png")
    assert (edited.returncode, edited.stderr) == (0, "")
    assert edited.stdout == "edited.png: cost 0.0271 USD, remaining balance 9.9462 USD\n"
    for name in ("made here.png", "edited.png"):
        with Image.open(tmp_path / name) as picture:
            assert (picture.format, picture.size) == ("PNG", (1024, 1024))
    Image.new("RGBA", (1024, 1024), "#00000000").save(tmp_path / "mask.png")
    variants = example(f"variants.{language}", "A red boat", "made here.png", "mask.png", "variant")
    assert (variants.returncode, variants.stderr) == (0, "")
    assert variants.stdout == (
        "variant-0.webp: seed 7\nvariant-1.webp: seed 8\ncost 0.0542 USD, remaining balance 9.8920 USD\n"
    )
    for number in range(2):
        with Image.open(tmp_path / f"variant-{number}.webp") as picture:
            assert (picture.format, picture.size) == ("WEBP", (1024, 1024))
    rows = service.ask("/v1/generations").json["data"]["generations"]
    assert [(row["type"], row["prompt"]) for row in rows] == [
        ("edit", "A red boat"),
        ("edit", "A red boat"),
        ("edit", "Add a rainbow"),
        ("create", 'A "quoted" \\ prompt, 日本'),
    ]

    (tmp_path / "no image.png").write_bytes(b"text")
    for refused, error_type in (
        (example(f"create.{language}", " ", "none.png"), "MISSING_PROMPT"),
        (example(f"edit.{language}", "x", "no image.png", "none.png"), "INVALID_IMAGE"),
    ):
        assert refused.returncode != 0
        assert CODE.findall(refused.stderr) == [error_type]
    assert not (tmp_path / "none.png").exists()


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_submitted_image_is_polled_or_watched_and_downloaded(
    language: str, service: processes.Server, tmp_path: Path
) -> None:
    _skip_without(language)
    example = partial(_run, folder=tmp_path, ZEKRON_URL=service.url, ZEKRON_API_KEY=service.key)
    for name in ASYNC_NAMES:
        made = example(f"{name}.{language}", 'A "quoted" \\ prompt, 日本', f"{name}.png")
        assert made.returncode == 0, made.stderr
        assert made.stdout == f"{name}.png: cost 0.0267 USD\n"
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert (picture.format, picture.size) == ("PNG", (1024, 1024))
        refused = example(f"{name}.{language}", " ", "none.png")
        assert refused.returncode != 0
        assert CODE.findall(refused.stderr) == ["MISSING_PROMPT"]
    assert not (tmp_path / "none.png").exists()
    assert {row.is_async for row in Generation.objects.all()} == {True}


@pytest.mark.processes
def test_a_generation_that_ends_without_an_image_is_told_by_its_code(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    files = [file for file in FILES if file.startswith(ASYNC_NAMES)]
    for outcome in _all_against([Reply(200)], tmp_path_factory, end=FAILED, files=files).values():
        assert outcome.status != 0
        assert f"{ERROR['message']} ({ERROR['code']})" in outcome.stderr
        assert outcome.stdout == ""
        assert [path for path in outcome.paths if "images" in path] == []


@pytest.mark.processes
@pytest.mark.django_db(transaction=True)
def test_a_picture_whose_reply_was_lost_is_had_by_the_next_try_and_paid_once(
    service: processes.Server, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outcomes = _all_against(
        [HANG_UP, Reply(200)],
        tmp_path_factory,
        api_key=service.key,
        make=partial(_pass_on, service.url),
        files=[file for file in FILES if file.startswith(("create", "submit"))],
    )
    assert {(outcome.status, len(outcome.requests)) for outcome in outcomes.values()} == {(0, 2)}
    for row in service.ask("/v1/generations").json["data"]["generations"]:
        service.ask(f"/v1/generations/{row['id']}?wait=60")
    balance = service.ask("/v1/balance").json["data"]
    assert balance["total_generations"] == len(outcomes)
    assert balance["total_spent"] == f"{len(outcomes) * 0.0267:.4f}"


@pytest.mark.processes
@pytest.mark.parametrize("file", FILES)
def test_a_missing_key_is_said(file: str, tmp_path: Path) -> None:
    _skip_without(_language_of(file))
    for name in ("image.png", "mask.png"):
        (tmp_path / name).write_bytes(PNG)
    ended = _run(file, folder=tmp_path, ZEKRON_URL="http://127.0.0.1:1")
    assert ended.returncode != 0
    assert re.search("(?i)ZEKRON_API_KEY.*to your API key", ended.stderr)


@pytest.mark.processes
@pytest.mark.parametrize("file", FILES)
def test_a_try_that_was_told_to_wait_or_was_hung_up_on_is_repeated_with_the_same_key(
    file: str, made_at_last: dict[str, Outcome]
) -> None:
    _skip_without(_language_of(file))
    outcome = made_at_last[file]
    assert outcome.status == 0, outcome.stderr
    assert len(outcome.requests) == len(MADE_AT_LAST)
    assert outcome.requests[1].at - outcome.requests[0].at >= RETRY_AFTER_SECONDS
    assert len({request.body for request in outcome.requests}) == 1
    (key,) = {request.headers["Idempotency-Key"] for request in outcome.requests}
    assert uuid.UUID(key).version == 4
    assert {request.headers["Authorization"] for request in outcome.requests} == {"Bearer zk_live_x"}
    made = {"edit": "edited.png", "variants": "variant-0.webp"}.get(file.partition(".")[0], "image.png")
    assert (outcome.folder / made).read_bytes() == PNG
    assert outcome.stdout.startswith(f"{made}: ")
    assert "cost 0.0267 USD" in outcome.stdout
    # A read that was hung up on is repeated too, and a stream that broke is opened again.
    reads = [path for path in outcome.paths if path.startswith("/v1/generations/42")]
    assert len(reads) == (3 if file.startswith(ASYNC_NAMES) else 0)
    for told in ("status: ", "progress: "):
        assert (told in outcome.stderr) == file.startswith("watch")


@pytest.mark.processes
def test_every_picture_has_a_key_of_its_own(
    made_at_last: dict[str, Outcome], never_made: dict[str, Outcome]
) -> None:
    outcomes = [*made_at_last.values(), *never_made.values()]
    assert len({outcome.requests[0].headers["Idempotency-Key"] for outcome in outcomes}) == len(outcomes)


@pytest.mark.processes
@pytest.mark.parametrize("file", FILES)
def test_an_example_gives_up_after_five_tries_and_tells_why(
    file: str, never_made: dict[str, Outcome]
) -> None:
    _skip_without(_language_of(file))
    outcome = never_made[file]
    assert outcome.status != 0
    assert len(outcome.requests) == 5
    assert f"{ERROR['message']} ({ERROR['code']})" in outcome.stderr
    assert outcome.stdout == ""


def test_the_readme_names_every_example() -> None:
    text = (processes.ROOT / "README.md").read_text()
    assert [file for file in FILES if f"examples/{file}" not in text] == []


def _all_against(
    replies: Sequence[Reply | None],
    folders: pytest.TempPathFactory,
    *,
    api_key: str = "zk_live_x",
    make: Callable[[Request], bytes] = lambda _: MADE,
    end: dict[str, Any] = COMPLETED,
    files: Sequence[str] = FILES,
) -> dict[str, Outcome]:
    """Run those that can run here all at once, because they mostly wait; each against a service of its own."""
    here = [file for file in files if _is_there(_language_of(file))]
    run = partial(_against, replies, make, end, api_key)
    with ThreadPoolExecutor(len(here)) as pool:
        return dict(zip(here, pool.map(run, here, [folders.mktemp("example") for _ in here]), strict=True))


def _against(
    replies: Sequence[Reply | None],
    make: Callable[[Request], bytes],
    end: dict[str, Any],
    api_key: str,
    file: str,
    folder: Path,
) -> Outcome:
    (folder / "image.png").write_bytes(b"the source of an edit")
    (folder / "mask.png").write_bytes(b"the mask of an edit")
    with FakeService(replies, make, end) as service:
        thread = threading.Thread(target=service.serve_forever, args=(0.02,))
        thread.start()
        try:
            ended = _run(file, folder=folder, ZEKRON_URL=service.url, ZEKRON_API_KEY=api_key)
        finally:
            service.shutdown()
            thread.join()
    return Outcome(ended.returncode, ended.stdout, ended.stderr, folder, service.requests, service.paths)


def _pass_on(url: str, request: Request) -> bytes:
    """Return what the live service replies to it."""
    target = f"{url}/v1/generate"
    passed_on = urllib.request.Request(target, request.body, request.headers)  # noqa: S310 (our own server)
    with urllib.request.urlopen(passed_on, timeout=120) as reply:  # noqa: S310
        return bytes(reply.read())


def _run(file: str, *arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an example in the folder; its environment has only the PATH, so that no proxy of the machine is asked."""
    command = [*LANGUAGES[_language_of(file)][0], str(processes.ROOT / "examples" / file), *arguments]
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@cache
def _is_there(language: str) -> bool:
    try:
        return subprocess.run(LANGUAGES[language][1], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def _skip_without(language: str) -> None:
    if not _is_there(language):
        pytest.skip(f"what runs .{language} is not on this machine")


def _language_of(file: str) -> str:
    return file.rpartition(".")[2]
