"""The purge: keys first, then bytes, then done; whatever kills it and however many run."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.core.management import call_command
from django.db import connection, transaction

from storage import deletions, images, tasks
from storage.models import StoredImage
from tests.storage.conftest import EARLIER, EXPIRES_AT, LATER, assert_purged, names

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code catches it."""


def test_an_expired_image_loses_its_key_and_its_bytes_and_keeps_its_row(
    stored: Store, objects: Storage
) -> None:
    image = stored()
    assert images.purge(now=LATER) == 1
    assert_purged(objects, 1)
    image.refresh_from_db()
    assert (image.key_destroyed_at, image.purged_at) == (LATER, LATER)
    with pytest.raises(images.ImageGone):
        images.load(image=image)


def test_an_image_expires_at_its_time_and_not_before(stored: Store) -> None:
    image = stored()
    assert images.purge(now=EARLIER) == 0
    assert images.load(image=image) == b"an image"
    assert images.purge(now=EXPIRES_AT) == 1


def test_an_unexpired_image_is_left_alone(stored: Store, objects: Storage) -> None:
    stored()
    living = stored(content=b"living", expires_at=LATER + timedelta(seconds=1))
    assert images.purge(now=LATER) == 1
    assert images.load(image=living) == b"living"
    assert names(objects) == [living.object_key]


def test_by_default_the_databases_clock_decides(stored: Store) -> None:
    past = stored(expires_at=EXPIRES_AT - timedelta(days=3650))
    stored(expires_at=EXPIRES_AT + timedelta(days=3650))
    assert images.purge() == 1
    past.refresh_from_db()
    assert past.purged_at is not None


def test_an_image_whose_key_was_destroyed_early_loses_its_bytes(stored: Store, objects: Storage) -> None:
    image = stored()
    images.destroy_keys(image_ids=[image.pk])
    assert images.purge(now=EARLIER) == 1
    assert_purged(objects, 1)


def test_after_a_clock_was_set_back_the_bytes_still_go_no_earlier_than_the_key(stored: Store) -> None:
    image = stored()
    StoredImage.objects.filter(pk=image.pk).update(wrapped_key=None, key_destroyed_at=LATER)
    assert images.purge(now=EARLIER) == 1
    image.refresh_from_db()
    assert image.purged_at == LATER


def test_a_second_purge_has_nothing_to_do(stored: Store) -> None:
    stored()
    assert images.purge(now=LATER) == 1
    assert images.purge(now=LATER + timedelta(days=1)) == 0
    assert StoredImage.objects.get().purged_at == LATER


def test_an_object_that_is_already_gone_is_as_good_as_deleted(stored: Store, objects: Storage) -> None:
    objects.delete(stored().object_key)
    assert images.purge(now=LATER) == 1


def test_a_purge_inside_a_transaction_is_refused(stored: Store) -> None:
    image = stored()
    with transaction.atomic(), pytest.raises(images.TransactionOpen):
        images.purge(now=LATER)
    assert images.load(image=image) == b"an image"


def test_more_images_than_a_batch_are_purged_in_one_call(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BATCH_ROWS", 3)
    for _ in range(10):
        stored()
    assert images.purge(now=LATER) == 10
    assert_purged(objects, 10)


def test_a_limit_holds_back_bytes_but_no_keys(stored: Store, objects: Storage) -> None:
    for _ in range(5):
        stored()
    assert images.purge(now=LATER, limit=2) == 2
    assert StoredImage.objects.filter(wrapped_key=None).count() == 5
    assert len(names(objects)) == 3
    assert images.purge(now=LATER, limit=4) == 3
    assert_purged(objects, 5)


def test_an_object_that_cannot_be_deleted_stops_no_other_and_is_tried_again(
    stored: Store,
    objects: Storage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(images, "BATCH_ROWS", 2)
    kept, really_delete = [stored() for _ in range(6)][1], objects.delete

    def delete(name: str) -> None:
        if name == kept.object_key:
            raise PermissionError("not now")
        really_delete(name)

    with monkeypatch.context() as patched:
        patched.setattr(objects, "delete", delete)
        assert images.purge(now=LATER) == 5
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert f"of image {kept.pk} " in record.getMessage()
    with pytest.raises(images.ImageGone):
        images.load(image=kept)
    assert names(objects) == [kept.object_key]
    assert images.purge(now=LATER) == 1
    assert_purged(objects, 6)


def test_objects_whose_deletion_hangs_delay_no_other(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BATCH_ROWS", 4)
    hanging, *others = [stored().object_key for _ in range(12)]
    hanging_too, *others = others
    left, all_others, really_delete = set(others), threading.Event(), objects.delete

    def delete(name: str) -> None:
        if name in {hanging, hanging_too}:
            assert all_others.wait(60)
        really_delete(name)
        left.discard(name)
        if not left:
            all_others.set()

    monkeypatch.setattr(objects, "delete", delete)
    assert images.purge(now=LATER) == 12
    assert_purged(objects, 12)


def test_objects_that_fail_are_tried_after_all_others(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = {stored().object_key, stored().object_key}
    others = [stored() for _ in range(2)]
    really_delete = objects.delete

    def delete(name: str) -> None:
        if name in failing:
            raise PermissionError("not now")
        really_delete(name)

    monkeypatch.setattr(objects, "delete", delete)
    assert [images.purge(now=LATER, limit=2) for _ in range(3)] == [0, 2, 0]
    assert StoredImage.objects.filter(purged_at=LATER).count() == len(others)


@pytest.mark.parametrize("deleted_before", [0, 1, 2])
@pytest.mark.parametrize("really", [False, True], ids=["before the delete", "after the delete"])
def test_a_purge_killed_at_a_delete_leaves_no_key_and_the_next_one_goes_on(
    *,
    deleted_before: int,
    really: bool,
    stored: Store,
    objects: Storage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        stored()
    monkeypatch.setattr(deletions, "_pool", ThreadPoolExecutor(1))
    really_delete, calls = objects.delete, iter(range(10))

    def delete(name: str) -> None:
        number = next(calls)
        if number < deleted_before or (really and number == deleted_before):
            really_delete(name)
        if number >= deleted_before:
            # No other thread outlives the process.
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(objects, "delete", delete)
        with pytest.raises(Killed):
            images.purge(now=LATER)
    assert len(names(objects)) == 3 - deleted_before - really
    assert StoredImage.objects.filter(wrapped_key=None, purged_at=None).count() == 3
    assert images.purge(now=LATER) == 3
    assert_purged(objects, 3)


@pytest.mark.parametrize("step", [0, 1, 2, 3])
@pytest.mark.parametrize("committed", [False, True], ids=["before its commit", "after its commit"])
def test_a_purge_killed_at_a_statement_is_finished_by_the_next_one(
    step: int, committed: bool, stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With two rows a batch and three images: two statements for keys, then two for what is deleted.
    monkeypatch.setattr(images, "BATCH_ROWS", 2)
    monkeypatch.setattr(deletions, "MAX_STRAGGLERS", 0)
    for _ in range(3):
        stored()
    really_update, calls = images._update_unlocked, iter(range(10))

    def update(*rows: Any, **changes: Any) -> int:
        dies = next(calls) == step
        with connection.execute_wrapper(kill_after_update) if dies and not committed else nullcontext():
            count = really_update(*rows, **changes)
        if dies:
            raise Killed
        return count

    with monkeypatch.context() as patched:
        patched.setattr(images, "_update_unlocked", update)
        with pytest.raises(Killed):
            images.purge(now=LATER)
    for image in StoredImage.objects.filter(wrapped_key__isnull=False):
        assert images.load(image=image) == b"an image"
    finished = StoredImage.objects.filter(purged_at__isnull=False).count()
    assert finished == [0, 0, 0, 2, 3][step + committed]
    assert images.purge(now=LATER) == 3 - finished
    assert_purged(objects, 3)


def kill_after_update(execute: Callable[..., object], sql: str, *rest: object) -> object:
    result = execute(sql, *rest)
    if sql.startswith("UPDATE"):
        raise Killed
    return result


def test_the_task_and_the_command_purge(stored: Store) -> None:
    stored(expires_at=EXPIRES_AT - timedelta(days=3650))
    assert tasks.purge.name == "storage.tasks.purge"
    tasks.purge.run()
    assert StoredImage.objects.get().purged_at is not None
    stored(expires_at=EXPIRES_AT - timedelta(days=3650))
    output = StringIO()
    call_command("purge", stdout=output)
    assert output.getvalue() == "1 images purged\n0 orphans removed\n"
