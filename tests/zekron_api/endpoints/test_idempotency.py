"""A retry under the same Idempotency-Key never costs twice."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from pytest_django import Settings

from billing.audit import audit as audit_money
from tests import factories
from tests.assertions import refusal
from tests.images import picture
from tests.zekron_api.callers import Caller
from workers.audit.rows import find_disagreements as audit_work
from workers.lifecycle import recovery
from workers.messaging import enqueue, worker_registry
from workers.models import Generation, IdempotencyKey, Status

pytestmark = pytest.mark.django_db(transaction=True)
BODY = {"prompt": "a boat", "size": "512x512"}


def send(caller: Caller, key: str = "k-1", **body: object) -> Any:
    """Send the request under this key."""
    return caller.post("/v1/generate", {**BODY, **body}, **{"Idempotency-Key": key})


def test_a_retry_of_a_completed_request_gets_the_same_reply_and_a_header(
    me: Caller, engine: factories.StandInEngine
) -> None:
    first, second = send(me), send(me)
    assert first.json() == second.json()
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert len(engine.orders) == 1
    me.account.refresh_from_db()
    assert me.account.settlement_count == 1


def test_a_retry_of_a_running_request_waits_for_it(
    me: Caller, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    settings.SYNC_WAIT_SECONDS = 0
    worker_registry.publish(worker_name="test")
    running = []
    monkeypatch.setattr(
        enqueue,
        "send",
        lambda *, generation_id: running.append(factories.claim(generation_id=generation_id)),
    )
    assert refusal(send(me)) == (504, "generation_timeout")
    factories.finish(running[0], now=None)
    again = send(me)
    assert (again.status_code, again.json()["data"]["id"]) == (200, running[0].pk)
    assert again["Idempotent-Replayed"] == "true"


def cut_off(file: Path) -> None:
    """Put a folder in its place, so that the store cannot read it."""
    file.unlink()
    file.mkdir()


def broken(file: Path) -> None:
    """Not what was sealed."""
    file.write_bytes(b"x" * file.stat().st_size)


@pytest.mark.parametrize("harm", [Path.unlink, cut_off, broken])
def test_a_client_whose_image_cannot_be_read_is_told_that_it_is_made_and_charged(
    me: Caller, engine: factories.StandInEngine, harm: Any
) -> None:
    done = send(me).json()["data"]
    file = Path(storages["objects"].path(Generation.objects.get().image.object_key))
    whole = file.read_bytes()
    harm(file)
    told = send(me)
    assert refusal(told) == (500, "image_unreachable")
    assert told.json()["error"]["generation_id"] == done["id"]
    assert "charged" in told.json()["error"]["message"]
    file.rmdir() if file.is_dir() else file.unlink(missing_ok=True)
    file.write_bytes(whole)
    assert send(me).json()["data"] == done
    me.account.refresh_from_db()
    assert me.account.settlement_count == 1


@pytest.mark.parametrize(
    "change",
    [{"prompt": "a cat"}, {"size": "1024x768"}, {"images": [{"data": picture()}]}],
    ids=["prompt", "size", "images"],
)
def test_another_request_under_the_same_key_is_refused(
    me: Caller, engine: factories.StandInEngine, change: Any
) -> None:
    send(me)
    assert refusal(send(me, **change)) == (422, "idempotency_mismatch")
    assert Generation.objects.count() == 1


def test_another_model_under_the_same_key_is_refused(
    me: Caller, engine: factories.StandInEngine, settings: Settings, tmp_path: Path
) -> None:
    own = Path(settings.BASE_DIR, "models.toml").read_text()
    settings.MODELS_FILE = tmp_path / "models.toml"
    settings.MODELS_FILE.write_text(own + own.replace("zekron-image-1", "other"))
    assert send(me).status_code == 200
    assert refusal(send(me, model="other")) == (422, "idempotency_mismatch")
    assert send(me, model="zekron-image-1")["Idempotent-Replayed"] == "true"
    assert Generation.objects.count() == 1


def test_the_same_images_in_another_order_are_another_request(
    me: Caller, engine: factories.StandInEngine
) -> None:
    wide, high = [{"data": picture(size=size)} for size in [(96, 64), (64, 96)]]
    assert send(me, "k-1", images=[wide, high]).status_code == 200
    assert send(me, "k-2", images=[high, wide]).status_code == 200
    assert refusal(send(me, "k-1", images=[high, wide])) == (422, "idempotency_mismatch")
    assert refusal(send(me, "k-2", images=[wide, high])) == (422, "idempotency_mismatch")
    assert send(me, "k-1", images=[wide, high])["Idempotent-Replayed"] == "true"
    assert Generation.objects.count() == 2


def test_fields_that_are_ignored_do_not_make_it_another_request(
    me: Caller, engine: factories.StandInEngine
) -> None:
    assert send(me).json() == send(me, style="vivid").json()


def test_the_same_key_of_another_account_is_another_key(
    me: Caller, stranger: Caller, engine: factories.StandInEngine
) -> None:
    assert send(me).json()["data"]["id"] != send(stranger).json()["data"]["id"]


def test_a_refused_request_is_not_remembered(me: Caller, idle_worker: None, settings: Settings) -> None:
    settings.OPEN_GENERATIONS_LIMIT = 0
    assert refusal(send(me)) == (429, "concurrency_limit_exceeded")
    assert not IdempotencyKey.objects.exists()


def test_a_request_that_ended_without_an_image_may_be_sent_again_under_its_key(
    me: Caller, engine: factories.StandInEngine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as nobody:
        nobody.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
        settings.SYNC_WAIT_SECONDS = 0
        assert refusal(send(me)) == (503, "service_busy")
    settings.SYNC_WAIT_SECONDS = 100
    assert send(me).status_code == 200
    assert send(me)["Idempotent-Replayed"] == "true"
    assert sorted(Generation.objects.values_list("status", flat=True)) == [Status.CANCELLED, Status.COMPLETED]


@pytest.mark.slow
def test_fifty_at_once_under_one_key_make_one_generation(
    me: Caller, engine: factories.StandInEngine, settings: Settings, objects_folder: Path
) -> None:
    settings.REQUESTS_PER_MINUTE = 1000
    image = [{"data": picture()}]
    replies = factories.at_once(50, lambda _: send(me, images=image))
    assert {reply.status_code for reply in replies} == {200}
    assert len({reply.json()["data"]["id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply for reply in replies) == 1
    assert [*audit_money(), *audit_work()] == []
    # The image, and the one source whose bytes the purge has not deleted yet.
    assert len([path for path in objects_folder.rglob("*") if path.is_file()]) == 2


def test_after_a_day_a_key_is_forgotten(me: Caller, engine: factories.StandInEngine) -> None:
    first = send(me)
    past = datetime.now(UTC) - timedelta(hours=24, seconds=1)
    IdempotencyKey.objects.update(created_at=past)
    factories.expire_image(first.json()["data"]["id"])
    second = send(me)
    assert first.json()["data"]["id"] != second.json()["data"]["id"]
    IdempotencyKey.objects.update(created_at=past)
    factories.expire_image(second.json()["data"]["id"])
    recovery.sweep()
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "a\tb", "schlüssel"], ids=["empty", "long", "tab", "not ASCII"]
)
def test_a_key_that_is_not_1_to_255_printable_ascii_characters_is_refused(
    me: Caller, idle_worker: None, key: str
) -> None:
    assert refusal(send(me, key)) == (400, "invalid_idempotency_key")
    assert not Generation.objects.exists()


def test_a_key_of_255_characters_is_taken(me: Caller, engine: factories.StandInEngine) -> None:
    assert send(me, "x" * 255).status_code == 200
