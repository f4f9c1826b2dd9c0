"""An object store and a ring of master keys for each test, and rows with which to fill them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from pytest_django import Settings

from storage import images
from storage.models import StoredImage
from tests import factories
from tests.storage import s3
from zekron_api.config.storage_url import object_store

EXPIRES_AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = EXPIRES_AT + timedelta(seconds=1)
EARLIER = EXPIRES_AT - timedelta(seconds=1)


@pytest.fixture(autouse=True)
def master_keys(settings: Settings) -> dict[str, bytes]:
    """Set the ring: `old` alone, until a test puts another before it."""
    settings.MASTER_KEYS = {"old": bytes(range(32))}
    return settings.MASTER_KEYS


@pytest.fixture
def files(settings: Settings, tmp_path: Path) -> Storage:
    """Return a store in a folder, as the settings make it."""
    entry = object_store((tmp_path / "objects").as_uri())
    settings.STORAGES = {**settings.STORAGES, "objects": entry}
    return storages["objects"]


@pytest.fixture
def bucket(settings: Settings, tmp_path: Path, s3_server: s3.Server, s3_credentials: None) -> Storage:
    """Return a store in a bucket."""
    del s3_credentials
    entry = s3_server.entry(prefix=f"{tmp_path.parent.name}/{tmp_path.name}")
    settings.STORAGES = {**settings.STORAGES, "objects": entry}
    return storages["objects"]


@pytest.fixture(params=["files", "bucket"])
def objects(request: pytest.FixtureRequest) -> Storage:
    """Return the object store, of each kind in turn, empty."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def stored(objects: Storage) -> Callable[..., StoredImage]:
    """Return a function that puts and records an image; what is not said is as usual."""
    del objects

    def store(
        *,
        content: bytes = b"an image",
        mime_type: str = "image/png",
        associated_data: str = "generation:1:result",
        expires_at: datetime = EXPIRES_AT,
    ) -> StoredImage:
        image = images.put(
            content=content, mime_type=mime_type, associated_data=associated_data, expires_at=expires_at
        )
        return factories.record(image)

    return store


def names(store: Storage, folder: str = "") -> list[str]:
    """Return the names of the objects that the store has."""
    try:
        folders, objects = store.listdir(folder)
    except FileNotFoundError:
        return []
    path = f"{folder}/" if folder else ""
    return [path + name for name in objects] + [
        name for subfolder in folders for name in names(store, path + subfolder)
    ]


def bytes_of(store: Storage, name: str) -> bytes:
    """Return the object's bytes as they are."""
    with store.open(name) as file:
        return file.read(1_000_000)


def overwrite(store: Storage, name: str, content: bytes) -> None:
    """Put other bytes in the object's place."""
    store.delete(name)
    assert store.save(name, ContentFile(content)) == name


def assert_purged(store: Storage, count: int) -> None:
    """No object is left, and `count` rows say so."""
    assert names(store) == []
    assert StoredImage.objects.filter(wrapped_key=None, purged_at__isnull=False).count() == count
