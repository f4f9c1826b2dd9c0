"""A store of files and a ring of master keys for each test, and rows with which to fill them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.storage import Storage, storages
from pytest_django import Settings

from storage import images
from storage.models import StoredImage

EXPIRES_AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = EXPIRES_AT + timedelta(seconds=1)
EARLIER = EXPIRES_AT - timedelta(seconds=1)


@pytest.fixture(autouse=True)
def master_keys(settings: Settings) -> dict[str, bytes]:
    """The ring: `old` alone, until a test puts another before it."""
    settings.MASTER_KEYS = {"old": bytes(range(32))}
    return settings.MASTER_KEYS


@pytest.fixture(autouse=True)
def folder(settings: Settings, tmp_path: Path) -> Path:
    """The folder of the object store, empty."""
    store = {**settings.STORAGES["objects"], "BACKEND": "django.core.files.storage.FileSystemStorage"}
    store["OPTIONS"] = {"location": str(tmp_path / "objects")}
    settings.STORAGES = {**settings.STORAGES, "objects": store}
    return tmp_path / "objects"


@pytest.fixture
def objects(folder: Path) -> Storage:
    """The object store, for a test that looks at it or breaks it."""
    del folder
    return storages["objects"]


@pytest.fixture
def stored() -> Callable[..., StoredImage]:
    """Puts and records an image; what is not said is as usual."""

    def store(
        *,
        content: bytes = b"an image",
        mime_type: str = "image/png",
        bound_to: str = "generation:1:result",
        expires_at: datetime = EXPIRES_AT,
    ) -> StoredImage:
        image = images.put(content=content, mime_type=mime_type, bound_to=bound_to, expires_at=expires_at)
        return images.record(image=image)

    return store


def files(folder: Path) -> list[Path]:
    """The objects that the store has."""
    return [path for path in folder.rglob("*") if path.is_file()]


def assert_purged(folder: Path, count: int) -> None:
    """No object is left, and `count` rows say so."""
    assert files(folder) == []
    assert StoredImage.objects.filter(wrapped_key=None, purged_at__isnull=False).count() == count
