"""A restore from a backup: the database goes back in time, and the store and the clients do not."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from django.db import connection

from billing.models import Account
from storage import images
from storage.models import StoredImage
from tests import factories, postgres_backup, processes
from tests.postgres_backup import Backup
from tests.zekron_api import callers
from workers.lifecycle import deletion, image_tokens
from workers.models import Generation, Status
from zekron_api.local import servers, unix_sockets

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.skipif(not servers.runs_postgres(), reason="a backup needs the local server"),
]


@pytest.fixture
def backup(tmp_path: Path) -> Iterator[Backup]:
    """Take a backup of the empty database; it is kept up to date while the test runs."""
    with postgres_backup.taken(tmp_path) as taken:
        yield taken


def test_a_restored_service_shows_what_is_live_and_nothing_that_ended_since(
    backup: Backup, tmp_path: Path, objects_folder: Path
) -> None:
    """After the time of the restore, one image is deleted, one expires and more generations get their ids."""
    owner = callers.caller()
    kept, deleted, expired = make(owner.account, count=3)
    running = factories.claim(generation_id=factories.submit(owner.account, now=None).pk)
    expires_at = expire_soon(expired)
    content = images.load(image=image_of(kept))
    restored_to = database_clock()
    factories.finish(running, now=None)
    deletion.delete_image(generation_id=deleted.pk)
    # A recovered sequence is up to 32 ids ahead by itself.
    later = [factories.submit(owner.account, now=None) for _ in range(40)]
    processes.wait_until(lambda: database_clock() > expires_at)
    images.purge()
    postgres_backup.finish_segment(backup)

    backup.restore(until=restored_to)
    restored = Restored(url_of(backup), objects_folder)
    assert "1 things do not add up" in restored.manage("audit_ledger", "--objects", fails=True)
    said = restored.manage("finish_restore")
    assert ("1 expired images purged." in said, "1 of 2 live images have no object" in said) == (True, True)
    assert "1 lost images deleted." in restored.manage("finish_restore", "--delete-lost")
    assert restored.manage("audit_ledger", "--objects") == "The ledger adds up.\n"

    with processes.running(
        folder=tmp_path, objects_folder=objects_folder, DATABASE_URL=restored.url
    ) as stack:
        server = processes.Server(stack.url, owner.key)
        processes.wait_until(lambda: processes.answers(stack.url))
        assert server.ask(image_path(kept)).content == content
        assert [server.ask(image_path(gone)).status for gone in (deleted, expired)] == [410, 410]
        balance = server.ask("/v1/balance").json["data"]
        assert (balance["total_generations"], balance["total_spent"]) == (3, "0.0801")
        accepted = server.ask("/v1/generate", {"prompt": "a boat", "async": True}).json["data"]
        assert accepted["id"] > max(each.pk for each in later)


class Restored(NamedTuple):
    """A restored database and the store that belongs to it."""

    url: str
    objects_folder: Path

    def manage(self, *arguments: str, fails: bool = False) -> str:
        """Run a command of manage.py on the database, and return what it wrote."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=processes.ROOT,
            env={**os.environ, **processes.variables(8000, self.objects_folder), "DATABASE_URL": self.url},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert bool(done.returncode) == fails, done.stderr
        return done.stdout + (done.stderr if fails else "")


def make(owner: Account, *, count: int) -> list[Generation]:
    """Have a worker make images, and return their generations."""
    made = [factories.submit(owner, now=None) for _ in range(count)]
    completed = Generation.objects.filter(pk__in=[each.pk for each in made], status=Status.COMPLETED)
    with processes.worker():
        processes.wait_until(lambda: completed.count() == count)
    return made


def expire_soon(generation: Generation) -> datetime:
    """Let the image expire in a second, and return the time."""
    expires_at = database_clock() + timedelta(seconds=1)
    Generation.objects.filter(pk=generation.pk).update(expires_at=expires_at)
    StoredImage.objects.filter(pk=image_of(generation).pk).update(expires_at=expires_at)
    return expires_at


def image_of(generation: Generation) -> StoredImage:
    image = Generation.objects.select_related("image").get(pk=generation.pk).image
    assert image is not None
    return image


def database_clock() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [clock] = cursor.fetchone()
    assert isinstance(clock, datetime)
    return clock


def url_of(backup: Backup) -> str:
    return processes.database_url(host=str(unix_sockets.folder(backup.var)))


def image_path(generation: Generation) -> str:
    return f"/v1/images/{image_tokens.token_of(generation_id=generation.pk)}"
