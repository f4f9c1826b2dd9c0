"""The store in a bucket: how few requests it makes, whom it lets in, and what it does when nobody answers."""

import os
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from pytest_django import Settings

from storage import images
from storage.models import StoredImage
from storage.s3_store import ObjectStoreFailed, S3Store
from tests import factories
from tests.processes import ROOT
from tests.storage import s3
from tests.storage.conftest import EXPIRES_AT, bytes_of
from tests.storage.s3 import OBJECT, everything, refusals, requests
from workers.lifecycle import attempt_statements
from zekron_api.config.storage_url import object_store
from zekron_api.ops import readiness
from zekron_api.waiting import asgi_handler


def fresh(url: str) -> S3Store:
    """Make a store with a client of its own."""
    options: Any = object_store(url)["OPTIONS"]
    return S3Store(**options)


@pytest.mark.parametrize("byte_count", [1, 20_000_000])
def test_a_put_a_read_and_a_delete_are_one_request_each(bucket: S3Store, byte_count: int) -> None:
    content = secrets.token_bytes(byte_count)
    with requests(bucket) as made:
        assert bucket.save(OBJECT, ContentFile(content)) == OBJECT
        with bucket.open(OBJECT) as file:
            assert file.read(byte_count + 1000) == content
        bucket.delete(OBJECT)
    assert made == ["PUT", "GET", "DELETE"]


@pytest.mark.django_db
def test_an_image_is_put_loaded_and_purged_by_one_request_each(bucket: S3Store) -> None:
    with requests(bucket) as made:
        image = images.put(
            content=b"x" * 5000, mime_type="image/png", associated_data="x", expires_at=EXPIRES_AT
        )
        images.load(image=factories.record(image))
        assert images.purge(now=EXPIRES_AT) == 1
    assert made == ["PUT", "GET", "DELETE"]


def test_no_more_is_read_than_is_asked_for(bucket: S3Store) -> None:
    bucket.save(OBJECT, ContentFile(b"abcdef"))
    with bucket.open(OBJECT) as file:
        assert file.read(2) == b"ab"


def test_objects_lie_in_the_bucket_under_the_prefix(bucket: S3Store, s3_server: s3.Server) -> None:
    bucket.save(OBJECT, ContentFile(b"here"))
    assert (s3_server.folder / bucket.location / OBJECT).read_bytes() == b"here"


@pytest.mark.processes
def test_more_objects_than_a_page_are_listed(own_server: s3.Server) -> None:
    folder = own_server.folder / "prefix/2030/01/02/03"
    folder.mkdir(parents=True)
    written = {f"{number:032x}" for number in range(2100)}
    for name in written:
        (folder / name).touch()
    store = fresh(own_server.url("prefix"))
    with requests(store) as made:
        folders, names = store.listdir("2030/01/02/03")
    assert (folders, set(names), len(names)) == ([], written, 2100)
    assert len(made) == 3


def test_what_is_missing_is_said_as_a_disk_says_it(bucket: S3Store) -> None:
    bucket.delete(OBJECT)
    for ask in (lambda: bucket.open(OBJECT), lambda: bucket.get_modified_time(OBJECT)):
        with pytest.raises(FileNotFoundError):
            ask()


@pytest.mark.parametrize("name", list(s3.CREDENTIALS))
def test_who_has_not_the_secret_is_refused_everything(
    bucket: S3Store, s3_server: s3.Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    bucket.save(OBJECT, ContentFile(b"mine"))
    monkeypatch.setenv(name, "not the one of the tests")
    said = refusals(fresh(s3_server.url(bucket.location)))
    assert len(set(said.values())) == 5
    assert all("Signature" in text or "AccessKey" in text or "403" in text for text in said.values()), said
    monkeypatch.undo()
    assert bytes_of(bucket, OBJECT) == b"mine"


def test_what_fails_says_no_secret_and_no_signature(
    bucket: S3Store, s3_server: s3.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    said = " ".join(refusals(fresh(s3_server.url("prefix"))).values())
    assert not any(part in said for part in ("another secret", "tester", s3_server.address, "AWS4"))


def test_a_bucket_that_is_not_there_is_a_failure_and_no_missing_object(
    bucket: S3Store, s3_server: s3.Server
) -> None:
    elsewhere = fresh(s3_server.url("prefix").replace(s3.BUCKET, "another-bucket"))
    asked = everything(elsewhere)
    for name in ("put", "read", "delete"):
        with pytest.raises(ObjectStoreFailed, match="NoSuchBucket"):
            asked[name]()


@pytest.mark.django_db
def test_readyz_says_whether_the_bucket_works(
    bucket: S3Store, s3_server: s3.Server, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "FRESH_SECONDS", 0.0)
    assert readiness.PARTS["store"].start().result()
    assert bucket.listdir("") == ([], [])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret")
    settings.STORAGES = {**settings.STORAGES, "objects": object_store(s3_server.url("prefix"))}
    assert not readiness.PARTS["store"].start().result()


def test_all_threads_share_one_client(bucket: S3Store) -> None:
    def put_and_read(number: int) -> bytes:
        name = bucket.save(f"2030/01/02/03/{number:032x}", ContentFile(b"%d" % number))
        return bytes_of(bucket, name)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(put_and_read, range(64))) == [b"%d" % number for number in range(64)]
    clients = factories.at_once(16, lambda _: bucket.connection)
    assert all(client is bucket.connection for client in clients)


def test_no_request_waits_for_ever_or_for_another_threads_connection(bucket: S3Store) -> None:
    config = bucket.connection.meta.client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}
    # Three of them end before the lease of an attempt would.
    assert attempt_statements.LEASE_SECONDS > 3 * 5
    assert config.max_pool_connections > asgi_handler.THREAD_COUNT


@pytest.mark.processes
@pytest.mark.parametrize("uses_bucket", [False, True], ids=["files", "a bucket"])
def test_boto_is_imported_for_a_bucket_alone(uses_bucket: bool, s3_server: s3.Server, tmp_path: Path) -> None:
    url = s3_server.url("prefix") if uses_bucket else tmp_path.as_uri()
    said = subprocess.run(
        [
            sys.executable,
            "-c",
            "import django, sys; django.setup(); from django.core.files.storage import storages; storages['objects'];"
            "import zekron_api.celery, zekron_api.urls, storage.orphans; print('boto3' in sys.modules)",
        ],
        cwd=ROOT,
        env={**os.environ, "STORAGE_URL": url, "DJANGO_SETTINGS_MODULE": "zekron_api.settings"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == f"{uses_bucket}\n"


@pytest.mark.django_db
@pytest.mark.usefixtures("s3_credentials")
def test_what_was_put_by_a_url_is_loaded_by_it(s3_server: s3.Server, settings: Settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "objects": object_store(s3_server.url("a/longer-prefix"))}
    image = images.put(content=b"an image", mime_type="image/png", associated_data="x", expires_at=EXPIRES_AT)
    assert images.load(image=factories.record(image)) == b"an image"
    assert (s3_server.folder / "a/longer-prefix" / StoredImage.objects.get().object_key).is_file()
