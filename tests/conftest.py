"""Runs the whole suite against a real PostgreSQL and a real Redis: those of the variables, or else the local ones.

In several processes (`pytest -n 2 --dist loadfile`) each has local servers of its own: channels, counters and the list
of clients belong to a whole Redis.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from django.conf import settings
from django.test import TransactionTestCase
from pytest_django import Settings

from billing import stripe_api
from tests import database
from tests.storage import s3
from zekron_api.config.redis_url import celery_broker_url
from zekron_api.config.storage_url import object_store
from zekron_api.local import servers, unix_sockets

TESTS_DIR = Path(__file__).resolve().parent
VAR_DIR = TESTS_DIR.parent / "var"
TORCH_PACKAGES = (TESTS_DIR / "demo_model", TESTS_DIR / "workers" / "pipelines")
# `make run` of the same folder keeps its queue and its counters in database 0 of the same server.
TEST_REDIS_DB = 15


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of a package that loads torch and models as slow."""
    for item in items:
        if any(item.path.is_relative_to(package) for package in TORCH_PACKAGES):
            item.add_marker(pytest.mark.slow)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Iterator[None]:
    """Keep the servers running around the session; with the variables set nothing is started."""
    os.environ.setdefault("DEBUG", "1")
    of_many = os.environ.get("PYTEST_XDIST_WORKER")
    with contextlib.ExitStack() as session:
        if of_many or not (
            config.option.help
            or config.option.version
            or config.option.collectonly
            or config.option.numprocesses
        ):
            _use_servers(session, of_many)
        return (yield)


def _use_servers(session: contextlib.ExitStack, of_many: str | None) -> None:
    if of_many and (os.environ.get("DATABASE_URL") or os.environ.get("REDIS_URL")):
        raise pytest.UsageError("several processes cannot share the servers of the variables: leave out -n")
    folder = VAR_DIR / of_many if of_many else VAR_DIR
    try:
        session.enter_context(servers.running(folder))
    except servers.LocalServicesFailed as error:
        raise pytest.UsageError(str(error)) from None
    # pytest-django has read the settings before this file.
    if of_many:
        settings.DATABASES["default"]["HOST"] = str(unix_sockets.folder(folder))
        _forgo_disk(folder)
    if not os.environ.get("REDIS_URL"):
        _use_own_redis_database(folder)


def _forgo_disk(folder: Path) -> None:
    """Let the server not wait for the disk. A crash of the machine would lose its tables, which nobody else has."""
    with psycopg.connect(
        host=str(unix_sockets.folder(folder)), user="postgres", dbname="postgres", autocommit=True
    ) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("ALTER SYSTEM SET full_page_writes = off")
        connection.execute("SELECT pg_reload_conf()")


def _use_own_redis_database(folder: Path) -> None:
    # The variable is for the processes that tests start.
    os.environ["REDIS_URL"] = settings.REDIS_URL = servers.redis_url(folder, db=TEST_REDIS_DB)
    settings.CELERY_BROKER_URL = celery_broker_url(settings.REDIS_URL)
    with redis.Redis.from_url(settings.REDIS_URL) as connection:
        connection.flushdb()


@pytest.fixture(scope="session", autouse=True)
def quick_flush() -> Iterator[None]:
    """Empty the database after a test that commits, in a hundredth of the time that Django's `flush` takes."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(TransactionTestCase, "_fixture_teardown", lambda _: database.truncate_filled_tables())
        yield


@pytest.fixture(autouse=True)
def objects_folder(settings: Settings, tmp_path: Path) -> Path:
    """Give each test an object store of files, empty."""
    folder = tmp_path / "objects"
    settings.STORAGES = {**settings.STORAGES, "objects": object_store(folder.as_uri())}
    return folder


@pytest.fixture
def s3_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the login of the S3 servers where boto looks for it."""
    for name, value in s3.CREDENTIALS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3.Server]:
    """Start one S3 server for all tests, each of which has a prefix of its own."""
    with s3.server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def own_server(settings: Settings, tmp_path: Path, s3_credentials: None) -> Iterator[s3.Server]:
    """Start an S3 server that a test may stop; the settings name a store on it."""
    del s3_credentials
    with s3.server(tmp_path) as server:
        settings.STORAGES = {**settings.STORAGES, "objects": object_store(server.url("prefix"))}
        yield server


@pytest.fixture(scope="session")
def small_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder of the small pipeline once."""
    # Imported here, because torch takes seconds that most runs of a few tests need not wait.
    from workers.pipelines.tiny import build  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("models") / "small"
    build.make(folder)
    return folder


@pytest.fixture
def stripe(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Configure card payments, with a stand-in for Stripe's side of the network."""
    # Imported here, because the library takes half a second that other tests need not wait.
    from tests.billing import stripe_stub  # noqa: PLC0415

    settings.STRIPE_SECRET_KEY = stripe_stub.SECRET_KEY
    settings.STRIPE_WEBHOOK_SECRET = stripe_stub.WEBHOOK_SECRET
    stub = stripe_stub.StripeStub()
    monkeypatch.setattr(stripe_api, "make_http_client", lambda: stub)
    stripe_api._make_client.cache_clear()
    yield stub
    stripe_api._make_client.cache_clear()
