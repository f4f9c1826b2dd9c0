"""The whole path on real processes: a web server and a Celery worker with a trained model, seen by an HTTP client."""

import base64
import io
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command
from PIL import Image, ImageStat

from billing.audit import audit
from tests import factories, processes
from workers.lifecycle import image_tokens

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
WORKER = "-m celery -A zekron_api worker -P threads -c 4 -Q gpu -n gpu@t"


@pytest.fixture
def server(tmp_path: Path, objects_folder: Path) -> Iterator[processes.Server]:
    """Run a web process and a GPU worker with the model that the project brings along; make a key."""
    with processes.running(
        folder=tmp_path,
        objects_folder=objects_folder,
        others={"gpu": WORKER.split()},
        MODELS_FILE=str(processes.ROOT / "models.toml"),
        DEVICE="cpu",
    ) as stack:
        yield processes.ready(stack.url)
    # uvicorn ends as the signal ends a process, once its clients have their replies.
    returned = {name: process.returncode for name, process in stack.started.items()}
    assert returned == {"web": -signal.SIGTERM, "gpu": 0}
    logs = stack.logs()
    assert "completed at attempt 1" in logs
    assert not re.search(r"zk_live_|mountain|Turn day|\b[0-9a-f]{64}\b", logs), (
        "a key, a prompt or a token is logged"
    )


def test_create_edit_balance_history_and_expiry(server: processes.Server, objects_folder: Path) -> None:
    asked = {"prompt": "A serene mountain landscape at noon", "size": "1024x1024"}
    created = server.ask("/v1/generate", asked).json["data"]
    assert (created["type"], created["cost"], created["remaining_balance"]) == ("create", "0.0267", "9.9733")
    png = base64.b64decode(created["image"]["b64_json"])
    with Image.open(io.BytesIO(png)) as picture:
        assert (picture.format, picture.size) == ("PNG", (1024, 1024))
        assert len(picture.getcolors(maxcolors=1024 * 1024) or []) > 100
        by_day = _sky(picture)
    assert by_day[2] > 1.2 * by_day[0]

    images = [{"data": base64.b64encode(png).decode(), "mime_type": "image/png"}]
    edited = server.ask("/v1/generate", {"prompt": "Turn day into night", "images": images}).json["data"]
    assert (edited["type"], edited["cost"], edited["remaining_balance"]) == ("edit", "0.0271", "9.9462")
    with Image.open(io.BytesIO(base64.b64decode(edited["image"]["b64_json"]))) as night:
        assert sum(_sky(night)) < 0.6 * sum(by_day)
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

    assert image_tokens.token_of(generation_id=created["id"]) == created["token"]
    factories.expire_image(created["id"])
    assert server.ask(f"/v1/images/{created['token']}").status == 410
    call_command("purge")
    assert server.ask(f"/v1/images/{created['token']}").status == 410
    assert server.ask(f"/v1/images/{edited['token']}").status == 200
    assert len([path for path in objects_folder.rglob("*") if path.is_file()]) == 2
    assert list(audit()) == []


def _sky(picture: Image.Image) -> list[float]:
    """Red, green and blue of its upper third, on average."""
    width, height = picture.size
    return ImageStat.Stat(picture.convert("RGB").crop((0, 0, width, height // 3))).mean
