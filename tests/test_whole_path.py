"""The whole path on real processes: a web server and a Celery worker with a real pipeline, seen by an HTTP client."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from PIL import Image

from billing import keys
from billing.audit import audit
from storage.models import StoredImage
from tests import stage
from workers import tokens
from workers.models import Generation

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parent.parent
START_LIMIT_SECONDS = 120


class Answer(NamedTuple):
    """What the server said."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)


class Server(NamedTuple):
    """A running service, asked with one account's key."""

    url: str
    key: str

    def ask(self, path: str, body: object = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers)  # noqa: S310 (our own server)
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310
                return Answer(reply.status, dict(reply.headers), reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, dict(error.headers), error.read())


@pytest.fixture
def processes(tmp_path: Path, small_model: Path, objects_folder: Path) -> Iterator[str]:
    """A web process and a GPU worker on the test's database, Redis and store; the address of the web process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = tmp_path / "models.toml"
    text = (ROOT / "models.toml").read_text()
    models.write_text(text.replace('"var/models/small"', json.dumps(str(small_model))))
    environment = {
        **os.environ,
        "DATABASE_URL": _test_database_url(),
        "STORAGE_URL": objects_folder.as_uri(),
        "REDIS_URL": settings.REDIS_URL,
        "MODELS_FILE": str(models),
        "DEVICE": "cpu",
        "PORT": str(port),
        "DEBUG": "1",
    }
    commands = {
        "web": [
            "-m",
            "uvicorn",
            "zekron_api.asgi:application",
            "--port",
            str(port),
            "--log-level",
            "warning",
        ],
        "gpu": [
            "-m",
            "celery",
            "-A",
            "zekron_api",
            "worker",
            "-P",
            "threads",
            "-c",
            "4",
            "-Q",
            "gpu",
            "-n",
            "gpu@t",
        ],
    }
    started = []
    try:
        for name, command in commands.items():
            with (tmp_path / f"{name}.log").open("wb") as log:
                started.append(
                    subprocess.Popen(
                        [sys.executable, *command], cwd=ROOT, env=environment, stdout=log, stderr=log
                    )
                )
        yield f"http://127.0.0.1:{port}"
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=90)
        logs = "".join((tmp_path / f"{name}.log").read_text() for name in commands)
        sys.stderr.write(logs)
    # uvicorn ends as the signal ends a process, once its clients have their replies.
    assert [process.returncode for process in started] == [-signal.SIGTERM, 0]
    assert "completed at attempt 1" in logs
    assert not re.search(r"zk_live_|mountain|rainbow|\b[0-9a-f]{64}\b", logs), (
        "a key, a prompt or a token is logged"
    )


@pytest.fixture
def server(processes: str) -> Server:
    """The service, once it says that it is ready, and an account with a key."""
    _, key = keys.issue(account_id=stage.account().pk)
    server = Server(processes, key)
    give_up_at = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < give_up_at:
        try:
            if server.ask("/readyz").status == 200:
                return server
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError("the service did not become ready")


def test_create_edit_balance_history_and_expiry(server: Server, objects_folder: Path) -> None:
    created = server.ask("/v1/generate", {"prompt": "A serene mountain landscape", "size": "1024x1024"}).json[
        "data"
    ]
    assert (created["type"], created["cost"], created["remaining_balance"]) == ("create", "0.0267", "9.9733")
    png = base64.b64decode(created["image"]["b64_json"])
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (1024, 1024))
        assert len(picture.getcolors(maxcolors=1024 * 1024) or []) > 100

    images = [{"data": base64.b64encode(png).decode(), "mime_type": "image/png"}]
    edited = server.ask("/v1/generate", {"prompt": "Add a rainbow", "images": images}).json["data"]
    assert (edited["type"], edited["cost"], edited["remaining_balance"]) == ("edit", "0.0271", "9.9462")
    both = {"prompt": "Combine these", "images": images * 2, "size": "768x1024"}
    assert server.ask("/v1/generate", both).json["data"]["size"] == "768x1024"

    fetched = server.ask(f"/v1/images/{created['token']}")
    assert (fetched.status, fetched.headers["content-type"], fetched.content) == (200, "image/png", png)
    assert not any(png[:64] in path.read_bytes() for path in objects_folder.rglob("*") if path.is_file())

    balance = server.ask("/v1/balance").json["data"]
    assert (balance["total_generations"], balance["reserved"]) == (3, "0.0000")
    rows = server.ask("/v1/generations").json["data"]["generations"]
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert {row["status"] for row in rows} == {"completed"}

    _expire(created["id"])
    assert server.ask(f"/v1/images/{created['token']}").status == 410
    call_command("purge")
    assert server.ask(f"/v1/images/{created['token']}").status == 410
    assert server.ask(f"/v1/images/{edited['token']}").status == 200
    assert len([path for path in objects_folder.rglob("*") if path.is_file()]) == 2
    assert list(audit()) == []


def _expire(generation_id: int) -> None:
    generation = Generation.objects.get(pk=generation_id)
    assert generation.token_digest == tokens.digest_of(token=tokens.token_of(generation_id=generation_id))
    past = timezone.now() - timedelta(seconds=1)
    Generation.objects.filter(pk=generation_id).update(expires_at=past)
    StoredImage.objects.filter(pk=generation.image_id).update(expires_at=past)


def _test_database_url() -> str:
    """The test database in the spelling of DATABASE_URL."""
    values = connection.settings_dict
    login = quote(values["USER"], safe="") + (
        f":{quote(values['PASSWORD'], safe='')}" if values["PASSWORD"] else ""
    )
    port = f":{values['PORT']}" if values["PORT"] else ""
    return f"postgres://{login}@{quote(values['HOST'], safe='')}{port}/{values['NAME']}"
