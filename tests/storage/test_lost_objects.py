"""Live images without an object are found, in each kind of store, and nothing else is."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.core.files.storage import Storage

from storage import images, lost_objects
from storage.models import StoredImage
from tests.storage.conftest import EARLIER, EXPIRES_AT, LATER

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db(transaction=True)


def test_only_the_live_images_without_an_object_are_found(objects: Storage, stored: Store) -> None:
    an_hour_later = EXPIRES_AT + timedelta(hours=1)
    kept, lost = stored(), stored()
    lost_with_its_folder = stored(expires_at=an_hour_later)
    for each in (lost, lost_with_its_folder):
        objects.delete(each.object_key)
    assert kept.pk not in {lost.pk, lost_with_its_folder.pk}
    assert set(lost_objects.find(now=EARLIER)) == {lost.pk, lost_with_its_folder.pk}
    assert lost_objects.count_live(now=EARLIER) == 3


def test_an_expired_or_deleted_image_is_not_lost(objects: Storage, stored: Store) -> None:
    expired, deleted = stored(expires_at=LATER), stored(expires_at=LATER + timedelta(hours=1))
    for each in (expired, deleted):
        objects.delete(each.object_key)
    images.destroy_keys(image_ids=[deleted.pk])
    assert list(lost_objects.find(now=LATER)) == []


def test_an_image_that_is_put_during_the_search_is_not_lost(
    objects: Storage, stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch lists its folders after its rows were read."""
    monkeypatch.setattr(lost_objects, "_BATCH_ROWS", 1)
    first = stored()
    objects.delete(first.object_key)
    found = lost_objects.find(now=EARLIER)
    assert next(found) == first.pk
    # The names are random, and the search sees those that come later in their order.
    for _ in range(10):
        stored()
    assert list(found) == []


def test_a_store_that_fails_ends_the_search(
    objects: Storage, stored: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored()

    def fail(path: str) -> None:
        raise OSError(path)

    monkeypatch.setattr(objects, "listdir", fail)
    with pytest.raises(OSError, match="2030"):
        list(lost_objects.find(now=EARLIER))
