"""Decisions that the published document leaves open; input, limits and keys have files of their own."""

import base64
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.test import Client
from PIL import Image
from pytest_django import Settings

from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api import asgi_client as server
from tests.zekron_api.callers import Caller
from workers.lifecycle import admission, queue_readings
from workers.messaging import enqueue
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)

TEAL = (0, 128, 128)


def test_the_code_of_an_error_is_in_its_log_line(me: Caller, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        error = me.generate(size="x").json()["error"]
    assert re.fullmatch(r"INVALID_SIZE_[0-9A-F]{6}_\d{10}", error["code"])
    assert f"{error['code']} 400 invalid_size" in caplog.text


def test_the_code_of_a_failure_is_on_its_row_where_the_admin_finds_it(
    me: Caller, idle_worker: None, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    code = me.generate().json()["error"]["code"]
    assert Generation.objects.get().error_code == code
    assert "=error_code" in admin.site._registry[Generation].search_fields


def test_what_is_called_a_png_is_one_everywhere_and_its_pixels_are_the_models(
    me: Caller, engine: factories.StandInEngine
) -> None:
    data = me.generate().json()["data"]
    fetched = me.get(f"/v1/images/{data['token']}")
    assert base64.b64decode(data["image"]["b64_json"]) == fetched.content
    assert data["image"]["mime_type"] == fetched["Content-Type"] == "image/png"
    with Image.open(io.BytesIO(fetched.content)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        assert set(image.info) == {"srgb", "xmp", "XML:com.adobe.xmp"}
        assert image.getcolors() == [(512 * 512, TEAL)]


def test_head_of_an_image_has_the_headers_of_get_and_no_body(
    me: Caller, engine: factories.StandInEngine
) -> None:
    path = f"/v1/images/{me.generate().json()['data']['token']}"
    headers = [("authorization", f"Bearer {me.key}"), ("x-request-id", "one")]
    with server.served() as room:
        head, get = room.send("HEAD", path, headers), room.send("GET", path, headers)
    differing = {name for name, value in head.headers.items() if get.headers.get(name) != value}
    assert differing <= {"ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset"}
    assert set(head.headers) == set(get.headers)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head["Content-Length"]) == len(get.content) > 0


def test_every_time_has_the_offset_of_utc_and_is_the_same_in_every_view(
    me: Caller, engine: factories.StandInEngine
) -> None:
    before = datetime.now(UTC)
    made = me.generate().json()
    row = me.get("/v1/generations").json()["data"]["generations"][0]
    assert (made["created_at"], made["data"]["image"]["expires_at"]) == (row["created_at"], row["expires_at"])
    assert all(text.endswith("+00:00") for text in (row["created_at"], row["expires_at"]))
    generation = Generation.objects.get()
    assert generation.expires_at == generation.ended_at + timedelta(hours=24)
    assert abs(datetime.fromisoformat(row["created_at"]) - before) < timedelta(minutes=1)


def test_an_edit_without_a_size_is_made_at_1024x1024(me: Caller, engine: factories.StandInEngine) -> None:
    data = me.post("/v1/generate", {"prompt": "a boat", "images": [{"data": picture()}]}).json()["data"]
    assert (data["type"], data["size"]) == ("edit", "1024x1024")


@pytest.mark.parametrize("images", [[], None])
def test_no_images_make_a_create(
    me: Caller, engine: factories.StandInEngine, images: list[Any] | None
) -> None:
    assert me.generate(images=images).json()["data"]["type"] == "create"


def test_the_engine_gets_the_pixels_of_the_sources_in_their_order(
    me: Caller, engine: factories.StandInEngine
) -> None:
    me.generate(images=[{"data": picture(size=(96, 64))}, {"data": picture("JPEG", size=(64, 128))}])
    assert [source.size for source in engine.orders[0].sources] == [(96, 64), (64, 128)]


def test_the_checks_on_an_image_come_in_the_order_401_404_403_410(
    me: Caller, stranger: Caller, engine: factories.StandInEngine
) -> None:
    token = me.generate().json()["data"]["token"]
    Generation.objects.update(expires_at=factories.NOW)
    StoredImage.objects.update(expires_at=factories.NOW)
    path = f"/v1/images/{token}"
    assert refusal(Client().get(f"/v1/images/{'0' * 64}")) == (401, "unauthorized")
    assert refusal(Client().get(path)) == (401, "unauthorized")
    assert refusal(stranger.get(f"/v1/images/{'0' * 64}")) == (404, "not_found")
    assert refusal(stranger.get(path)) == (403, "access_denied")
    assert refusal(me.get(path)) == (410, "expired")


@pytest.mark.parametrize(("microseconds", "status"), [(-1, 200), (0, 410), (1, 410)])
def test_an_image_is_expired_from_the_instant_of_its_expires_at(
    me: Caller,
    engine: factories.StandInEngine,
    monkeypatch: pytest.MonkeyPatch,
    microseconds: int,
    status: int,
) -> None:
    token = me.generate().json()["data"]["token"]
    instant = Generation.objects.get().expires_at + timedelta(microseconds=microseconds)
    monkeypatch.setattr("django.utils.timezone.now", lambda: instant)
    assert me.get(f"/v1/images/{token}").status_code == status


def test_spent_and_counted_is_what_was_completed_and_balance_and_spent_add_up(me: Caller) -> None:
    for status in Status:
        factories.generation_in(status, me.account)
    data = me.get("/v1/balance").json()["data"]
    assert (data["balance"], data["total_spent"], data["total_generations"]) == ("9.9733", "0.0267", 1)
    assert (data["reserved"], data["available"]) == ("0.0534", "9.9199")


def test_the_history_shows_every_status_newest_first(me: Caller) -> None:
    made = [factories.generation_in(status, me.account) for status in Status]
    rows = me.get("/v1/generations").json()["data"]["generations"]
    assert [(row["id"], row["status"]) for row in rows] == [(row.pk, row.status) for row in reversed(made)]
    assert {row["status"] for row in rows} == {"queued", "running", "completed", "failed", "cancelled"}


def test_a_limit_over_100_is_100_and_any_offset_is_answered(me: Caller) -> None:
    factories.submit(me.account)
    for limit, offset in (("101", "0"), ("9" * 4000, "0"), ("100", "9" * 4000)):
        page = me.get(f"/v1/generations?limit={limit}&offset={offset}").json()["data"]["pagination"]
        assert (page["limit"], page["total"]) == (100, 1)


def test_a_reply_that_comes_late_is_never_a_202(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    assert me.generate().status_code == 503
    # The first one still counts in the predictions of this second.
    monkeypatch.setattr(admission, "_readings", queue_readings.QueueReadings())
    monkeypatch.setattr(
        enqueue, "send", lambda *, generation_id: factories.claim(generation_id=generation_id)
    )
    assert me.generate().status_code == 504
