"""Images from put to loaded, and every way in which one must not be loaded."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.db import IntegrityError, connection, transaction
from pytest_django import Settings

from storage import images, keyring
from storage.models import StoredImage
from tests import factories
from tests.storage.conftest import EXPIRES_AT, bytes_of, names, overwrite

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db


def put(*, content: bytes = b"an image") -> StoredImage:
    """Put an image without a row into the store."""
    return images.put(
        content=content, mime_type="image/png", associated_data="generation:1:result", expires_at=EXPIRES_AT
    )


def test_what_was_stored_is_loaded(stored: Store) -> None:
    image = stored(content=b"\x89PNG and more")
    assert images.load(image=StoredImage.objects.get()) == b"\x89PNG and more"
    assert (image.byte_count, image.mime_type, image.expires_at) == (13, "image/png", EXPIRES_AT)
    assert (image.purged_at, image.key_destroyed_at) == (None, None)


def test_neither_the_store_nor_the_row_holds_the_content_in_clear(stored: Store, objects: Storage) -> None:
    image = stored(content=b"very recognisable content")
    assert b"recognisable" not in bytes_of(objects, image.object_key)
    assert b"recognisable" not in repr(StoredImage.objects.values().get()).encode()


def test_an_object_key_starts_with_the_hour_of_its_expiry_in_utc(stored: Store) -> None:
    image = stored(expires_at=datetime.fromisoformat("2030-01-02T01:30:00+03:00"))
    hour, _, random = image.object_key.rpartition("/")
    assert hour == "2030/01/01/22"
    assert len(bytes.fromhex(random)) == 16


def test_the_name_that_the_store_chose_is_the_one_recorded(
    files: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_object_key", lambda _: "2030/01/02/03/same")
    first, second = [factories.record(put(content=content)) for content in (b"first", b"second")]
    assert first.object_key == "2030/01/02/03/same" != second.object_key
    assert [images.load(image=image) for image in (first, second)] == [b"first", b"second"]


def test_an_image_without_bytes_is_not_put(objects: Storage) -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        images.put(content=b"", mime_type="image/png", associated_data="x", expires_at=EXPIRES_AT)
    assert names(objects) == []


@pytest.mark.django_db(transaction=True)
def test_nothing_is_put_inside_a_transaction(objects: Storage) -> None:
    with transaction.atomic(), pytest.raises(images.TransactionOpen):
        put()
    assert names(objects) == []
    assert not connection.in_atomic_block


def test_recording_twice_is_refused(stored: Store) -> None:
    image = stored()
    with pytest.raises(IntegrityError), transaction.atomic():
        factories.record(image)


def test_an_image_that_was_never_recorded_can_be_discarded_twice(objects: Storage) -> None:
    image = put()
    images.discard(image=image)
    images.discard(image=image)
    assert names(objects) == []


def test_a_store_that_does_not_delete_what_is_discarded_keeps_it_as_an_orphan(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the store is away")

    image = put()
    with monkeypatch.context() as broken:
        broken.setattr(type(objects), "delete", fail)
        images.discard(image=image)
    assert objects.exists(image.object_key)


def test_a_recorded_image_cannot_be_discarded(stored: Store) -> None:
    image = stored()
    with pytest.raises(images.AlreadyRecorded):
        images.discard(image=image)
    assert images.load(image=image) == b"an image"


def test_an_image_that_was_never_recorded_cannot_be_loaded() -> None:
    image = put()
    with pytest.raises(images.ImageGone):
        images.load(image=image)


def test_an_image_past_its_time_is_still_loaded_until_its_key_is_destroyed(stored: Store) -> None:
    image = stored(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert images.load(image=image) == b"an image"


def test_a_row_read_before_its_key_was_destroyed_loads_nothing_after(
    stored: Store, caplog: pytest.LogCaptureFixture
) -> None:
    image, other = stored(), stored(content=b"other")
    images.destroy_keys(image_ids=[image.pk])
    assert image.wrapped_key is not None
    with pytest.raises(images.ImageGone) as gone:
        images.load(image=image)
    assert type(gone.value) is images.ImageGone
    assert images.load(image=other) == b"other"
    assert caplog.records == []


def test_a_key_destroyed_while_the_store_is_slow_opens_nothing(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, really_open = stored(), objects.open

    def slow_open(name: str) -> object:
        images.destroy_keys(image_ids=[image.pk])
        return really_open(name)

    monkeypatch.setattr(objects, "open", slow_open)
    with pytest.raises(images.ImageGone):
        images.load(image=image)


def test_destroying_keys_twice_changes_nothing(stored: Store) -> None:
    image, first_at = stored(), datetime(2029, 1, 1, tzinfo=UTC)
    images.destroy_keys(image_ids=[image.pk], now=first_at)
    images.destroy_keys(image_ids=[image.pk], now=first_at + timedelta(days=1))
    row = StoredImage.objects.get()
    assert (row.wrapped_key, row.key_destroyed_at, row.purged_at) == (None, first_at, None)


@pytest.mark.django_db(transaction=True)
def test_destroying_keys_in_a_transaction_that_rolls_back_keeps_them(stored: Store) -> None:
    image = stored()
    with transaction.atomic():
        images.destroy_keys(image_ids=[image.pk])
        transaction.set_rollback(True)
    assert images.load(image=image) == b"an image"


def test_a_lost_object_is_gone_and_logged_as_an_error(
    stored: Store, objects: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    image = stored()
    objects.delete(image.object_key)
    with pytest.raises(images.ObjectMissing) as gone:
        images.load(image=image)
    assert isinstance(gone.value, images.ImageGone)
    assert [(record.levelno, f"Image {image.pk} " in record.message) for record in caplog.records] == [
        (logging.ERROR, True)
    ]


def torn(store: Storage, image: StoredImage) -> None:
    overwrite(store, image.object_key, bytes_of(store, image.object_key)[:-1])


def empty(store: Storage, image: StoredImage) -> None:
    overwrite(store, image.object_key, b"")


def longer(store: Storage, image: StoredImage) -> None:
    overwrite(store, image.object_key, bytes_of(store, image.object_key) + bytes(10_000))


def flipped(store: Storage, image: StoredImage) -> None:
    content = bytearray(bytes_of(store, image.object_key))
    content[len(content) // 2] ^= 1
    overwrite(store, image.object_key, bytes(content))


def swapped_objects(store: Storage, image: StoredImage) -> None:
    overwrite(store, image.object_key, bytes_of(store, put().object_key))


def swapped_keys(_store: Storage, image: StoredImage) -> None:
    StoredImage.objects.filter(pk=image.pk).update(wrapped_key=put().wrapped_key)


def row_says(**changes: Any) -> Callable[[Storage, StoredImage], None]:
    def change(_store: Storage, image: StoredImage) -> None:
        StoredImage.objects.filter(pk=image.pk).update(**changes)

    return change


@pytest.mark.parametrize(
    "damage",
    [
        torn,
        empty,
        longer,
        flipped,
        swapped_objects,
        swapped_keys,
        row_says(associated_data="generation:2:result"),
        row_says(mime_type="image/jpeg"),
        row_says(byte_count=7),
        row_says(byte_count=9),
        row_says(algorithm="none"),
        row_says(master_key_id="lost"),
        row_says(wrapped_key=b""),
        row_says(wrapped_key=bytes(40)),
    ],
)
def test_whatever_was_tampered_with_gives_one_error_and_one_log_line(
    damage: Callable[[Storage, StoredImage], None],
    stored: Store,
    objects: Storage,
    caplog: pytest.LogCaptureFixture,
) -> None:
    image = stored()
    damage(objects, image)
    with pytest.raises(images.ImageUnreadable) as unreadable:
        images.load(image=image)
    assert str(unreadable.value) == ""
    assert unreadable.value.__suppress_context__
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith(f"Image {image.pk} does not open under master key ")
    assert record.exc_info is None


def test_a_whole_image_put_in_the_place_of_another_is_refused(stored: Store, objects: Storage) -> None:
    mine, theirs = (
        stored(associated_data="generation:1:result"),
        stored(associated_data="generation:2:result"),
    )
    overwrite(objects, mine.object_key, bytes_of(objects, theirs.object_key))
    StoredImage.objects.filter(pk=mine.pk).update(wrapped_key=theirs.wrapped_key)
    with pytest.raises(images.ImageUnreadable):
        images.load(image=mine)


def test_after_a_new_master_key_old_images_open_and_new_ones_are_sealed_by_it(
    stored: Store, settings: Settings
) -> None:
    before = stored(content=b"before")
    settings.MASTER_KEYS = {"new": b"n" * 32, **settings.MASTER_KEYS}
    after = stored(content=b"after")
    assert (before.master_key_id, after.master_key_id) == ("old", "new")
    assert [images.load(image=image) for image in (before, after)] == [b"before", b"after"]
    settings.MASTER_KEYS = {"new": b"n" * 32}
    assert images.load(image=after) == b"after"
    with pytest.raises(images.ImageUnreadable):
        images.load(image=before)


def test_a_key_wrapped_anew_opens_the_object_as_it_is(stored: Store, settings: Settings) -> None:
    image = stored()
    content_key = keyring.unwrap(master_key_id="old", wrapped_key=bytes(image.wrapped_key or b""))
    settings.MASTER_KEYS = {"new": b"n" * 32}
    master_key_id, wrapped_key = keyring.wrap(content_key=content_key)
    StoredImage.objects.update(master_key_id=master_key_id, wrapped_key=wrapped_key)
    assert images.load(image=image) == b"an image"


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"byte_count": 0}, "has_bytes"),
        ({"associated_data": ""}, "is_bound"),
        ({"wrapped_key": None}, "key_is_there_until_destroyed"),
        ({"key_destroyed_at": EXPIRES_AT}, "key_is_there_until_destroyed"),
        ({"purged_at": EXPIRES_AT}, "purged_has_no_key"),
    ],
)
def test_the_database_refuses_a_row_that_cannot_be(
    changes: dict[str, object], constraint: str, stored: Store
) -> None:
    stored()
    with pytest.raises(IntegrityError, match=f"storage_image_{constraint}"), transaction.atomic():
        StoredImage.objects.update(**changes)
