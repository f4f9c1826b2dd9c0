"""One live service for the clients of this folder, each in a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker, Settings

from tests import database
from tests.clients import stack as service
from tests.clients.stack import Stack
from zekron_api.config.storage_url import object_store


@pytest.fixture(scope="package")
def stack(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Start the service once."""
    del django_db_setup
    with django_db_blocker.unblock(), service.running(tmp_path_factory.mktemp("clients")) as running:
        database.truncate_filled_tables()
        yield running


@pytest.fixture(autouse=True)
def objects_folder(settings: Settings, stack: Stack) -> Path:
    """Share the store of the service."""
    settings.STORAGES = {**settings.STORAGES, "objects": object_store(stack.objects_folder.as_uri())}
    return stack.objects_folder
