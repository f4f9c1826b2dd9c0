"""A purge that is killed, as a process, between any two of its steps; the next one finishes its work."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.files.storage import Storage

from storage import images
from storage.models import StoredImage
from storage.s3_store import S3Store
from tests import processes
from tests.storage import s3
from tests.storage.conftest import names

PAST = datetime(2020, 1, 1, tzinfo=UTC)

Purge = Callable[[str], "subprocess.CompletedProcess[str]"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]


@pytest.fixture
def purge(objects: Storage, request: pytest.FixtureRequest, tmp_path: Path) -> Purge:
    """Return a function that runs the command in a process of its own, on this test's database and store."""
    variables = {**os.environ, **processes.variables(8000, tmp_path / "objects")}
    if isinstance(objects, S3Store):
        server: s3.Server = request.getfixturevalue("s3_server")
        variables["STORAGE_URL"] = server.url(objects.location)

    def run(failpoints: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", "purge"],
            cwd=processes.ROOT,
            env={**variables, "FAILPOINTS": failpoints},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("failpoints", "object_count"), [("keys_destroyed=kill", 3), ("object_deleted=kill", 2)]
)
def test_a_purge_killed_between_two_steps_leaves_no_key_and_the_next_finishes(
    stored: Callable[..., StoredImage],
    objects: Storage,
    purge: Purge,
    failpoints: str,
    object_count: int,
) -> None:
    expired, living = [stored(expires_at=PAST) for _ in range(3)], stored()
    for _ in range(2):
        assert purge(failpoints).returncode == -signal.SIGKILL
        # Several objects may be deleted at the moment of the kill.
        assert 1 <= len(names(objects)) <= object_count + 1
        assert StoredImage.objects.filter(wrapped_key=None, purged_at=None).count() == 3
    ended = purge("")
    assert (ended.returncode, ended.stdout) == (0, "3 images purged\n0 orphans removed\n")
    assert names(objects) == [living.object_key]
    assert images.load(image=living) == b"an image"
    for image in expired:
        image.refresh_from_db()
        assert image.purged_at is not None
