"""POST /v1/generate: the published reply, its price, and every refusal."""

import base64
import io
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError
from PIL import Image
from pytest_django import Settings

from billing import accounts, holds, ledger
from storage import images
from storage.models import StoredImage
from tests import factories
from tests.assertions import refusal
from tests.factories import ERROR
from tests.images import picture
from tests.zekron_api.callers import Caller, caller
from workers.lifecycle import attempt_statements, generations, idempotency
from workers.messaging import enqueue
from workers.models import Generation, SourceImage, Status

pytestmark = pytest.mark.django_db(transaction=True)
IMAGE = {"data": picture()}


def test_a_create_gives_the_published_reply(me: Caller, engine: factories.StandInEngine) -> None:
    response = me.post(
        "/v1/generate", {"prompt": "A futuristic city", "model": "zekron-image-1", "size": "1024x1024"}
    )
    body = response.json()
    data = body["data"]
    assert response.status_code == 200, body
    assert set(body) == {"success", "data", "created_at"}
    published = {"id", "token", "type", "model", "prompt", "size", "image", "cost", "remaining_balance"}
    assert set(data) == published | {"seed", "quality", "metadata", "prompt_truncated", "prompt_tokens_read"}
    assert set(data["image"]) == {"url", "b64_json", "mime_type", "expires_at"}
    assert (data["type"], data["model"], data["size"]) == ("create", "zekron-image-1", "1024x1024")
    assert (data["cost"], data["remaining_balance"]) == ("0.0267", "9.9733")
    assert data["image"]["url"].endswith(f"/v1/images/{data['token']}")
    assert re.fullmatch(r"[0-9a-f]{64}", data["token"])
    assert body["created_at"].endswith("+00:00")
    life = datetime.fromisoformat(data["image"]["expires_at"]) - datetime.fromisoformat(body["created_at"])
    assert 0 <= (life - attempt_statements.IMAGE_LIFE).total_seconds() < 60
    with Image.open(io.BytesIO(base64.b64decode(data["image"]["b64_json"]))) as image:
        assert (image.format, image.size) == ("PNG", (1024, 1024))


@pytest.mark.parametrize("read_count", [None, 0, 47])
def test_the_reply_the_generation_and_the_history_say_how_much_of_the_prompt_was_read(
    me: Caller, engine: factories.StandInEngine, read_count: int | None
) -> None:
    engine.read_count = read_count
    data = me.generate().json()["data"]
    one = me.get(f"/v1/generations/{data['id']}").json()["data"]
    [row] = me.get("/v1/generations").json()["data"]["generations"]
    said = [(each["prompt_truncated"], each["prompt_tokens_read"]) for each in (data, one, row)]
    assert said == [(read_count is not None, read_count)] * 3


def test_a_one_image_edit_costs_what_is_published(me: Caller, engine: factories.StandInEngine) -> None:
    response = me.generate(size="1024x1024", images=[{"data": picture("JPEG"), "mime_type": "image/jpeg"}])
    data = response.json()["data"]
    assert (data["type"], data["cost"]) == ("edit", "0.0271")
    assert len(engine.orders[0].sources) == 1


def test_a_two_image_edit_gives_the_engine_both(me: Caller, engine: factories.StandInEngine) -> None:
    sources = [{"data": picture("PNG")}, {"data": picture("WEBP")}]
    assert me.generate(images=sources).json()["data"]["type"] == "edit"
    assert len(engine.orders[0].sources) == 2


def test_source_images_are_sealed_for_their_account(
    me: Caller, stranger: Caller, engine: factories.StandInEngine
) -> None:
    for who in (me, stranger):
        assert who.generate(images=[IMAGE, IMAGE]).status_code == 200
    rows = SourceImage.objects.select_related("image", "generation").order_by("pk")
    assert [row.image.associated_data for row in rows] == [
        f"account {row.generation.account_id} source" for row in rows
    ]
    # A purge must not take a source from an attempt that starts at the last moment.
    assert all(row.image.expires_at > row.generation.deadline_at + timedelta(minutes=5) for row in rows)
    assert [row.generation.account_id for row in rows] == [me.account.pk] * 2 + [stranger.account.pk] * 2


@pytest.mark.parametrize("size", ["512x512", "1024x1024", "1024x768", "768x1024"])
def test_each_published_size_comes_out(me: Caller, engine: factories.StandInEngine, size: str) -> None:
    data = me.generate(size=size).json()["data"]
    with Image.open(io.BytesIO(base64.b64decode(data["image"]["b64_json"]))) as image:
        assert (data["size"], f"{image.width}x{image.height}") == (size, size)


def test_what_is_left_out_has_the_published_default_and_unknown_fields_are_ignored(
    me: Caller, engine: factories.StandInEngine
) -> None:
    body = {"prompt": "a boat", "images": [], "seed": 4, "model": None, "size": None, "quality": "high"}
    data = me.post("/v1/generate", body).json()["data"]
    assert (data["model"], data["size"], data["type"]) == ("zekron-image-1", "1024x1024", "create")


def test_without_money_nothing_is_queued(idle_worker: None) -> None:
    poor = caller(balance_micros=20_000)
    assert refusal(poor.generate()) == (402, "insufficient_balance")
    assert not Generation.objects.exists()


def test_a_refused_edit_leaves_no_source_in_the_store(idle_worker: None, objects_folder: Path) -> None:
    poor = caller(balance_micros=20_000)
    assert refusal(poor.generate(images=[IMAGE])) == (402, "insufficient_balance")
    assert _files(objects_folder) == []


@pytest.mark.parametrize(
    "refusal_of",
    [
        idempotency.AlreadyAccepted,
        lambda row: idempotency.KeyReused(),
        lambda row: generations.TooManyOpen(5),
        lambda row: ledger.InsufficientBalance(),
        lambda row: holds.AccountSuspended(),
    ],
    ids=["accepted before", "key reused", "too many open", "no money", "suspended"],
)
def test_sources_of_a_request_that_is_refused_under_the_lock_are_discarded(
    me: Caller, idle_worker: None, objects_folder: Path, monkeypatch: pytest.MonkeyPatch, refusal_of: Any
) -> None:
    twin = factories.generation_in(Status.FAILED, me.account)
    seen: list[int] = []

    def refuse(**_: object) -> None:
        seen.append(len(_files(objects_folder)))
        raise refusal_of(twin)

    monkeypatch.setattr(generations, "submit", refuse)
    assert me.generate(images=[IMAGE, IMAGE]).status_code != 200
    assert seen == [2]
    assert _files(objects_folder) == []


def test_sources_of_a_request_whose_outcome_is_unknown_are_kept(
    me: Caller, idle_worker: None, objects_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_answer(**_: object) -> None:
        raise OperationalError("the connection ended during COMMIT")

    monkeypatch.setattr(generations, "submit", lose_the_answer)
    assert refusal(me.generate(images=[IMAGE])) == (503, "service_unavailable")
    assert len(_files(objects_folder)) == 1


def test_a_source_that_cannot_be_stored_takes_the_others_with_it(
    me: Caller, idle_worker: None, objects_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_put = images.put
    stored: list[StoredImage] = []

    def put(**values: Any) -> StoredImage:
        if stored:
            raise OSError("the disk is full")
        stored.append(really_put(**values))
        return stored[0]

    monkeypatch.setattr(images, "put", put)
    response = me.generate(images=[IMAGE, IMAGE])
    assert refusal(response) == (503, "service_unavailable")
    assert int(response["Retry-After"]) > 0
    assert len(stored) == 1
    assert _files(objects_folder) == []


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_sixth_open_generation_is_refused(me: Caller, idle_worker: None, settings: Settings) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    settings.OPEN_GENERATIONS_LIMIT = 0
    response = me.generate()
    assert refusal(response) == (429, "concurrency_limit_exceeded")
    assert int(response["Retry-After"]) > 0


def test_a_suspended_account_is_refused(me: Caller, idle_worker: None) -> None:
    accounts.suspend(account_id=me.account.pk)
    assert refusal(me.generate()) == (403, "access_denied")


def test_still_queued_at_the_deadline_is_cancelled_and_free(
    me: Caller, idle_worker: None, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    response = me.generate()
    assert refusal(response) == (503, "service_busy")
    assert int(response["Retry-After"]) > 0
    generation = Generation.objects.get()
    me.account.refresh_from_db()
    assert (generation.status, me.account.reserved_micros) == ("cancelled", 0)
    assert generation.error_code == response.json()["error"]["code"]


def test_still_running_at_the_deadline_is_kept_and_named(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    monkeypatch.setattr(
        enqueue, "send", lambda *, generation_id: factories.claim(generation_id=generation_id)
    )
    response = me.generate()
    assert refusal(response) == (504, "generation_timeout")
    generation = Generation.objects.get()
    assert response.json()["error"]["generation_id"] == generation.pk
    assert generation.status == "running"


def test_a_generation_that_a_worker_claims_while_it_is_cancelled_is_kept_and_named(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    really_cancel = generations.cancel

    def cancel(*, generation: Generation, **error: Any) -> None:
        factories.claim(generation_id=generation.pk)
        really_cancel(generation=generation, **error)

    monkeypatch.setattr(generations, "cancel", cancel)
    assert refusal(me.generate()) == (504, "generation_timeout")
    assert Generation.objects.get().status == "running"


def test_a_failed_generation_is_a_500_with_the_code_of_its_row_and_free(
    me: Caller, idle_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*, generation_id: int) -> None:
        generations.fail(generation=factories.claim(generation_id=generation_id), **ERROR)

    monkeypatch.setattr(enqueue, "send", fail)
    response = me.generate()
    assert (response.status_code, response.json()["error"]["code"]) == (500, ERROR["error_code"])
    me.account.refresh_from_db()
    assert (me.account.reserved_micros, me.account.spent_micros) == (0, 0)


def test_the_headers_of_middleware_and_limits_reach_the_client_of_a_parked_reply(
    me: Caller, engine: factories.StandInEngine
) -> None:
    response = me.generate()
    assert response["X-RateLimit-Limit"] == "60"
    assert response["X-RateLimit-Remaining"] == "59"
    assert response["X-Request-Id"]
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cache-Control"] == "private, no-store"
