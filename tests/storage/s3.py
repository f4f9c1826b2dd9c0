"""A real S3 server in a folder: rclone's, which checks the signature of every request. And what is asked of it."""

import os
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.files.base import ContentFile

from storage.s3_store import ObjectStoreFailed, S3Store
from zekron_api.config.storage_url import object_store

BUCKET = "zekron-test"
OBJECT = "2030/01/02/03/" + "ab" * 16
LOGIN = ("tester", "a secret of the tests")
CREDENTIALS = dict(zip(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), LOGIN, strict=True))
START_LIMIT_SECONDS = 30
_SAYS_WHERE = "Starting s3 server on ["

_stores: dict[str, S3Store] = {}


class Server(NamedTuple):
    """A running server; what it keeps of the bucket lies in `folder`."""

    address: str
    process: "subprocess.Popen[bytes]"
    folder: Path

    def url(self, prefix: str) -> str:
        """Return the STORAGE_URL of objects under the prefix."""
        return f"s3://{BUCKET}/{prefix}?endpoint_url={self.address}&region=us-east-1"

    def entry(self, prefix: str) -> dict[str, Any]:
        """Return what the settings make of that, but for a client that all tests with this server share."""
        return {**object_store(self.url(prefix)), "BACKEND": "tests.storage.s3.shared_store"}


def shared_store(*, location: str, **options: Any) -> S3Store:
    """Turn the store of this server, which took a tenth of a second to make, to another prefix."""
    store = _stores.setdefault(options["endpoint_url"], S3Store(location=location, **options))
    store.location = location
    return store


@contextmanager
def server(folder: Path, *, logins: Sequence[tuple[str, str]] = (LOGIN,)) -> Iterator[Server]:
    """Run a server over the folder, with an empty bucket, until the block ends. A login is a key and its secret."""
    bucket = folder / "buckets" / BUCKET
    bucket.mkdir(parents=True)
    keys = ",".join(f'"{key},{secret}"' for key, secret in logins)
    with (folder / "rclone.log").open("wb") as log:
        process = subprocess.Popen(
            [
                f"{sysconfig.get_path('scripts')}/rclone",
                "serve",
                "s3",
                "--addr",
                "127.0.0.1:0",
                bucket.parent,
            ],
            env={**os.environ, "RCLONE_AUTH_KEY": keys, "RCLONE_CONFIG": os.devnull},
            stdout=log,
            stderr=log,
        )
    try:
        yield Server(_address(folder / "rclone.log"), process, bucket)
    finally:
        process.kill()
        process.wait()


@contextmanager
def requests(store: S3Store) -> Iterator[list[str]]:
    """Every request on the wire while the block runs, each attempt at it by itself."""
    made: list[str] = []

    def note(request: Any, **_: object) -> None:
        made.append(request.method)

    events = store.connection.meta.client.meta.events
    events.register("before-send.s3", note)
    try:
        yield made
    finally:
        events.unregister("before-send.s3", note)


def everything(store: S3Store) -> dict[str, Callable[[], object]]:
    """All that is ever asked of a bucket."""
    return {
        "put": lambda: store.save(OBJECT, ContentFile(b"x")),
        "read": lambda: store.open(OBJECT).read(100),
        "age": lambda: store.get_modified_time(OBJECT),
        "list": lambda: store.listdir(""),
        "delete": lambda: store.delete(OBJECT),
    }


def refusals(store: S3Store) -> dict[str, str]:
    """Return how each of them fails; all must."""
    said = {}
    for name, ask in everything(store).items():
        with pytest.raises(ObjectStoreFailed) as failed:
            ask()
        said[name] = str(failed.value)
    return said


def _address(log: Path) -> str:
    give_up_at = time.monotonic() + START_LIMIT_SECONDS
    while time.monotonic() < give_up_at:
        before, _, after = log.read_text().partition(_SAYS_WHERE)
        if "]" in after:
            return after.partition("]")[0].rstrip("/")
        time.sleep(0.02)
    raise AssertionError(f"rclone did not start: {before}")
