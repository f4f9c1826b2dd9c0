"""The audit of the store: it opens every image that must open, goes on past those that do not, and names these."""

from datetime import datetime, timedelta
from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.core.management import CommandError, call_command
from django.utils import timezone
from pytest_django import Settings

from storage import images
from storage.models import StoredImage
from tests import factories
from workers.audit import images as image_audit
from workers.audit import rows
from workers.gpu_worker import attempt
from workers.lifecycle import generations
from workers.models import Generation, Kind, Status

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def made(now: datetime) -> list[Generation]:
    """Three generations that a worker completed just now."""
    owner = factories.account()
    for _ in range(3):
        factories.submit(owner, now=now)
    with factories.attempt_context(factories.StandInEngine()) as context:
        for _ in range(3):
            attempt.run_next(context=context)
    rows = list(Generation.objects.select_related("image").order_by("pk"))
    assert {row.status for row in rows} == {Status.COMPLETED}
    return rows


class Unreachable(FileSystemStorage):
    """A store that fails in a way of its own."""

    def _open(self, name: str, mode: str = "rb") -> "ContentFile[bytes]":
        raise ConnectionResetError("the store is not to be reached")


def test_nothing_is_said_of_images_that_open(made: list[Generation]) -> None:
    assert list(image_audit.find_unreadable()) == []


def test_a_lost_object_and_a_broken_one_are_named_and_the_others_still_opened(
    made: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    # One row at a time, so that the audit comes back for more.
    monkeypatch.setattr(image_audit, "ROWS_AT_ONCE", 1)
    lost, broken, whole = (row.image for row in made)
    store = storages["objects"]
    with store.open(broken.object_key) as file:
        sealed = file.read()
    store.delete(lost.object_key)
    store.delete(broken.object_key)
    store.save(broken.object_key, ContentFile(sealed[:-1] + bytes([sealed[-1] ^ 1])))
    assert list(image_audit.find_unreadable()) == [
        f"image {lost.pk}: its object {lost.object_key} is missing",
        f"image {broken.pk}: its object {broken.object_key} is not what was sealed",
    ]
    assert images.load(image=whole)


def test_images_that_were_swapped_between_generations_are_named(made: list[Generation]) -> None:
    first, second, _ = made
    Generation.objects.filter(pk=first.pk).update(image_id=None, **_WITHOUT)
    Generation.objects.filter(pk=second.pk).update(image_id=first.image_id)
    assert list(image_audit.find_unreadable()) == [
        f"generation {second.pk}: its image {first.image_id} is sealed for another"
    ]


# What a generation must not have while it has no image.
_WITHOUT = {
    "status": Status.FAILED,
    "cost_micros": None,
    "token_digest": None,
    "expires_at": None,
}


def test_a_store_that_does_not_answer_is_said_of_each_image(
    made: list[Generation], settings: Settings
) -> None:
    store = settings.STORAGES["objects"]
    settings.STORAGES = {
        **settings.STORAGES,
        "objects": {**store, "BACKEND": "tests.workers.audit.test_images.Unreachable"},
    }
    problems = list(image_audit.find_unreadable())
    assert len(problems) == 3
    assert "could not be read: ConnectionResetError" in problems[0]


def test_an_expired_image_and_one_whose_key_goes_meanwhile_need_not_open(
    made: list[Generation], now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for row in made:
        storages["objects"].delete(row.image.object_key)
    assert list(image_audit.find_unreadable(now=now + timedelta(hours=25))) == []
    load = images.load

    def ended_meanwhile(*, image: StoredImage) -> bytes:
        images.destroy_keys(image_ids=[image.pk])
        return load(image=image)

    monkeypatch.setattr(images, "load", ended_meanwhile)
    assert list(image_audit.find_unreadable()) == []


def test_the_source_of_an_open_edit_must_open_too(now: datetime) -> None:
    source = images.put(
        content=b"png", mime_type="image/png", associated_data="a source", expires_at=now + timedelta(hours=1)
    )
    queued = factories.submit(factories.account(), now=now, kind=Kind.EDIT, sources=[[source]])
    storages["objects"].delete(source.object_key)
    assert len(list(image_audit.find_unreadable())) == 1
    generations.cancel(generation=queued, error_type="service_busy", error_code="X")
    assert list(image_audit.find_unreadable()) == []


def test_the_command_opens_the_images_only_when_asked_to(made: list[Generation]) -> None:
    lost = made[0].image
    storages["objects"].delete(lost.object_key)
    call_command("audit_ledger", stdout=StringIO())
    out = StringIO()
    with pytest.raises(CommandError, match="1 things do not add up"):
        call_command("audit_ledger", "--objects", stdout=out)
    assert out.getvalue() == f"image {lost.pk}: its object {lost.object_key} is missing\n"


def test_the_command_names_objects_that_belong_to_no_image_once_they_are_forgotten(
    made: list[Generation], monkeypatch: pytest.MonkeyPatch
) -> None:
    nobodys = images.put(
        content=b"png", mime_type="image/png", associated_data="x", expires_at=made[0].expires_at
    )
    call_command("audit_ledger", "--objects", stdout=StringIO())
    monkeypatch.setattr(rows, "OBJECT_GRACE", timedelta(seconds=-1))
    out = StringIO()
    with pytest.raises(CommandError, match="1 things do not add up"):
        call_command("audit_ledger", "--objects", stdout=out)
    assert out.getvalue() == f"object {nobodys.object_key}: belongs to no image\n"
