"""A store that fails, hangs or fills up, and workers that die beside it: nothing is charged without its image."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.storage import Storage, storages
from django.db import transaction
from django.utils import timezone
from pytest_django import Settings

from billing.audit import audit as audit_money
from billing.models import Account
from storage import failpoints, images, orphans, s3_store
from storage.models import StoredImage
from tests import database, factories, processes
from tests.storage import s3
from tests.storage.conftest import names
from tests.storage.faults import files_of_at_most, hanging, standing_still
from workers.audit import rows
from workers.gpu_worker import attempt
from workers.gpu_worker.heartbeat import Heartbeat
from workers.lifecycle import attempt_statements, recovery
from workers.messaging import counters
from workers.models import MAX_ATTEMPTS, Generation, Status
from zekron_api.config.storage_url import object_store

pytestmark = pytest.mark.django_db(transaction=True)

START_LIMIT_SECONDS = 180
# A worker for one generation, in a process of its own.
WORKER = """
import sys, django
django.setup()
from tests import factories
from workers.gpu_worker import attempt
with factories.attempt_context(factories.StandInEngine()) as context:
    attempt.run_next(context=context)
"""


@pytest.fixture(autouse=True)
def objects(settings: Settings, objects_folder: Path) -> Storage:
    """Return a store in a folder, as the settings make it."""
    settings.STORAGES = {**settings.STORAGES, "objects": object_store(objects_folder.as_uri())}
    return storages["objects"]


@contextmanager
def worker_process(
    generation: Generation, objects_folder: Path, failpoint: str
) -> Iterator["subprocess.Popen[bytes]"]:
    with processes.started(
        ["-c", WORKER, str(generation.pk)],
        log=objects_folder.with_name("worker.log"),
        objects_folder=objects_folder,
        DJANGO_SETTINGS_MODULE="zekron_api.settings",
        FAILPOINTS=failpoint,
    ) as process:
        yield process


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + START_LIMIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come to that"
        time.sleep(0.02)


def attempted(generation: Generation) -> Generation:
    """Make another attempt, whose backoff is over, and return the generation."""
    Generation.objects.filter(pk=generation.pk).update(not_before=factories.NOW)
    with factories.attempt_context(factories.StandInEngine()) as context:
        attempt.run_next(context=context)
    return Generation.objects.select_related("image").get(pk=generation.pk)


def rescued(generation: Generation) -> Generation:
    """Sweep after the generation's lease is over, and return the generation."""
    later = datetime.now(UTC) + timedelta(seconds=attempt_statements.LEASE_SECONDS + 1)
    recovery.rescue(limit=10, now=later)
    return Generation.objects.get(pk=generation.pk)


def assert_completed_once(generation: Generation) -> None:
    """Check that it has its image and is charged once, and that the store holds nothing else."""
    generation = Generation.objects.select_related("image").get(pk=generation.pk)
    assert generation.status == Status.COMPLETED
    assert images.load(image=generation.image).startswith(b"\x89PNG")
    owner = Account.objects.get(pk=generation.account_id)
    assert (owner.reserved_micros, owner.spent_micros) == (0, factories.QUOTE_MICROS)
    wait_until(lambda: objects_after_a_pass() == [generation.image.object_key])
    assert [*audit_money(), *rows.find_disagreements()] == []


def objects_after_a_pass() -> list[str]:
    """Return what is left when all that may be an orphan is gone. A store that stood still may put some late."""
    orphans.remove(now=timezone.now() + timedelta(hours=1))
    return names(storages["objects"])


def assert_failed_and_free(generation: Generation) -> None:
    generation.refresh_from_db()
    owner = Account.objects.get(pk=generation.account_id)
    assert (generation.status, generation.error_type) == (Status.FAILED, "generation_failed")
    assert (owner.reserved_micros, owner.spent_micros) == (0, 0)
    assert [*audit_money(), *rows.find_disagreements()] == []


def test_a_store_that_takes_nothing_fails_the_generation_after_three_attempts_and_it_is_free(
    objects_folder: Path,
) -> None:
    objects_folder.write_text("where the folder of the store should be")
    generation = factories.submit(factories.account(), now=None)
    for _ in range(MAX_ATTEMPTS - 1):
        assert attempted(generation).status == Status.QUEUED
    attempted(generation)
    assert_failed_and_free(generation)


def test_a_store_that_takes_something_again_at_the_third_attempt_is_soon_enough(objects_folder: Path) -> None:
    objects_folder.write_text("where the folder of the store should be")
    generation = factories.submit(factories.account(), now=None)
    for _ in range(MAX_ATTEMPTS - 1):
        attempted(generation)
    objects_folder.unlink()
    attempted(generation)
    assert_completed_once(generation)


def test_a_full_disk_delays_the_generation_and_leaves_nothing_torn(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    really_save = getattr(objects, "_save")  # noqa: B009 (the stubs have no private names)

    def save(name: str, content: object) -> str:
        with files_of_at_most(500):
            return really_save(name, content)

    generation = factories.submit(factories.account(), now=None)
    with monkeypatch.context() as patched:
        patched.setattr(objects, "_save", save)
        queued = attempted(generation)
    assert (queued.status, queued.error_detail) == (Status.QUEUED, "OSError: [Errno 27] File too large")
    assert names(objects) == []
    attempted(generation)
    assert_completed_once(generation)


@pytest.mark.processes
def test_a_store_that_hangs_is_given_up_in_time_and_the_lease_is_kept_meanwhile(
    own_server: s3.Server, settings: Settings
) -> None:
    generation = factories.submit(factories.account(), now=None)
    leases: list[datetime] = []

    def look(**_: object) -> None:
        leases.append(Generation.objects.get(pk=generation.pk).lease_until)

    heartbeat = Heartbeat(worker_name="test", interval_seconds=0.05)
    heartbeat.start()
    try:
        with (
            factories.attempt_context(factories.StandInEngine()) as context,
            hanging(own_server, settings) as store,
        ):
            store.connection.meta.client.meta.events.register("before-send.s3", look)
            attempt.run_next(context=context._replace(heartbeat=heartbeat))
    finally:
        heartbeat.close()
    queued = Generation.objects.get(pk=generation.pk)
    assert (queued.status, queued.error_detail) == (Status.QUEUED, "ObjectStoreFailed: ReadTimeoutError")
    assert len(leases) == s3_store.MAX_ATTEMPT_COUNT
    assert leases[0] < leases[1] < leases[2]
    attempted(generation)
    assert_completed_once(generation)


def test_a_source_that_the_store_has_lost_fails_the_edit_and_it_is_free(objects: Storage) -> None:
    source = factories.sealed(b"a source")
    generation = factories.submit(factories.account(), now=None, kind="edit", sources=[[source]])
    objects.delete(source.object_key)
    counted_before = counters.read_unreadable_image_count()
    for _ in range(MAX_ATTEMPTS):
        attempted(generation)
    assert_failed_and_free(generation)
    assert counters.read_unreadable_image_count() == counted_before + MAX_ATTEMPTS


@pytest.mark.processes
def test_a_worker_killed_between_its_put_and_its_commit_leaves_an_orphan_and_no_charge(
    objects: Storage, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None)
    with worker_process(generation, objects_folder, "stored=kill") as process:
        assert process.wait(timeout=START_LIMIT_SECONDS) == -signal.SIGKILL
    assert len(names(objects)) == 1
    assert not StoredImage.objects.exists()
    assert rescued(generation).status == Status.QUEUED
    attempted(generation)
    assert len(names(objects)) == 2
    assert_completed_once(generation)


@pytest.mark.processes
def test_a_worker_frozen_while_its_statement_runs_keeps_its_object_through_a_pass_over_orphans(
    objects: Storage, objects_folder: Path
) -> None:
    generation = factories.submit(factories.account(), now=None)
    with ExitStack() as lock:
        lock.enter_context(transaction.atomic())
        Account.objects.select_for_update().get(pk=generation.account_id)
        with worker_process(generation, objects_folder, "") as process:
            wait_until(database.is_someone_waiting_for_a_lock)
            with standing_still(process):
                lock.close()
                wait_until(lambda: Generation.objects.filter(status=Status.COMPLETED).exists())
                assert orphans.remove(now=timezone.now() + timedelta(hours=1)) == 0
            assert process.wait(timeout=START_LIMIT_SECONDS) == 0
    assert_completed_once(generation)


def test_a_worker_that_comes_back_after_its_object_was_removed_charges_nothing(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation = factories.submit(factories.account(), now=None)

    def reach(point: str) -> None:
        if point == "stored":
            assert orphans.remove(now=timezone.now() + timedelta(hours=1)) == 1

    with monkeypatch.context() as patched:
        patched.setattr(failpoints, "reach", reach)
        assert attempted(generation).status == Status.RUNNING
    assert Account.objects.get(pk=generation.account_id).spent_micros == 0
    assert names(objects) == []
    assert rescued(generation).status == Status.QUEUED
    attempted(generation)
    assert_completed_once(generation)
