"""Purges beside each other and beside other transactions, with real threads, connections and commits."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from django.core.files.storage import Storage
from django.db import connection, transaction

from storage import images
from storage.models import StoredImage
from tests.storage.conftest import EARLIER, LATER, assert_purged

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_key_is_destroyed_and_committed_before_the_bytes_are_touched(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, seen = stored(), []

    def delete(_name: str) -> None:
        with ThreadPoolExecutor(1) as elsewhere:
            seen.append(elsewhere.submit(in_own_connection, key_of_the_image).result())
        assert not connection.in_atomic_block

    def key_of_the_image() -> object:
        return StoredImage.objects.get(pk=image.pk).wrapped_key

    monkeypatch.setattr(objects, "delete", delete)
    images.purge(now=LATER)
    assert seen == [None]


def in_own_connection(work: Callable[[], Any]) -> Any:
    try:
        return work()
    finally:
        connection.close()


def test_purges_at_once_finish_each_image_exactly_once(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "BATCH_ROWS", 7)
    for _ in range(40):
        stored()
    together, really_delete = Barrier(4), objects.delete

    def delete(name: str) -> None:
        # All of them hold the same first batch before any deletes from it.
        try:
            together.wait(timeout=5)
        except BrokenBarrierError:
            pass
        else:
            together.abort()
        really_delete(name)

    monkeypatch.setattr(objects, "delete", delete)
    with ThreadPoolExecutor(4) as pool:
        purges = [pool.submit(in_own_connection, lambda: images.purge(now=LATER)) for _ in range(4)]
    assert sum(purge.result() for purge in purges) == 40
    assert_purged(objects, 40)


def test_a_row_that_another_transaction_changes_is_passed_over(stored: Store) -> None:
    held, free = stored(), stored()
    with ThreadPoolExecutor(1) as elsewhere, transaction.atomic():
        StoredImage.objects.select_for_update().get(pk=held.pk)
        purge = elsewhere.submit(in_own_connection, lambda: images.purge(now=LATER))
        assert purge.result(timeout=10) == 1
    free.refresh_from_db()
    assert free.purged_at == LATER
    assert images.load(image=held) == b"an image"
    assert images.purge(now=LATER) == 1


def test_a_row_that_a_new_key_refers_to_is_not_passed_over(stored: Store) -> None:
    image = stored()
    with ThreadPoolExecutor(1) as elsewhere, transaction.atomic(), connection.cursor() as cursor:
        # The lock that inserting a foreign key takes.
        cursor.execute("SELECT 1 FROM storage_storedimage WHERE id = %s FOR KEY SHARE", [image.pk])
        purge = elsewhere.submit(in_own_connection, lambda: images.purge(now=LATER))
        assert purge.result(timeout=10) == 1


def test_an_image_whose_destruction_rolls_back_keeps_its_bytes(stored: Store) -> None:
    image = stored()
    with ThreadPoolExecutor(1) as elsewhere, transaction.atomic():
        images.destroy_keys(image_ids=[image.pk])
        assert elsewhere.submit(in_own_connection, lambda: images.purge(now=EARLIER)).result(timeout=10) == 0
        transaction.set_rollback(True)
    assert images.load(image=image) == b"an image"
