"""Objects that no image needs go, by whoever they were left; no image ever loses its own."""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import Storage
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connections, transaction
from django.utils import timezone

from storage import deletions, images, orphans, tasks
from storage.file_store import PARTIAL_SUFFIX
from storage.models import StoredImage
from tests import factories
from tests.storage.conftest import EXPIRES_AT, LATER, names, overwrite

Store = Callable[..., StoredImage]

pytestmark = pytest.mark.django_db(transaction=True)


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the code catches it."""


def put() -> StoredImage:
    """Leave an object without a row, as a worker does that is killed before its commit."""
    return images.put(content=b"an image", mime_type="image/png", associated_data="x", expires_at=EXPIRES_AT)


def in_minutes(minutes: float) -> datetime:
    return timezone.now() + timedelta(minutes=minutes)


def remove(minutes: float = 60) -> int:
    """Make a pass, long after the tests put their objects."""
    return orphans.remove(now=in_minutes(minutes))


def elsewhere(work: Callable[[], Any]) -> Any:
    """Return the result of this in a thread with a connection of its own."""

    def run() -> object:
        try:
            return work()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result(timeout=30)


def test_an_object_that_nobody_recorded_goes_once_it_is_old_enough(objects: Storage) -> None:
    image = put()
    assert remove(minutes=14) == 0
    assert names(objects) == [image.object_key]
    assert remove(minutes=16) == 1
    assert names(objects) == []
    assert remove(minutes=16) == 0


def test_the_limit_can_be_another(objects: Storage) -> None:
    put()
    assert orphans.remove(now=in_minutes(2), older_than_seconds=180) == 0
    assert orphans.remove(now=in_minutes(2), older_than_seconds=60) == 1
    assert names(objects) == []


def test_what_has_a_live_row_stays_however_old_it_is(stored: Store, objects: Storage) -> None:
    image, expired = stored(), stored()
    images.destroy_keys(image_ids=[expired.pk])
    assert remove(minutes=60 * 24 * 365 * 10) == 0
    assert images.load(image=image) == b"an image"
    assert expired.object_key in names(objects)


def test_an_object_that_came_back_after_its_purge_goes_at_once(stored: Store, objects: Storage) -> None:
    image = stored()
    images.purge(now=LATER)
    overwrite(objects, image.object_key, b"late")
    assert remove(minutes=0) == 1
    assert names(objects) == []
    image.refresh_from_db()
    assert image.purged_at == LATER


def test_an_upload_that_arrives_after_its_removal_is_removed_by_the_next_pass(objects: Storage) -> None:
    image = put()
    assert remove() == 1
    for _ in range(2):
        overwrite(objects, image.object_key, b"from a frozen worker")
        assert remove(minutes=0) == 1
    assert names(objects) == []


def test_who_records_an_object_after_its_removal_is_refused(objects: Storage) -> None:
    image = put()
    assert remove() == 1
    with pytest.raises(IntegrityError):
        factories.record(image)
    images.discard(image=image)
    with pytest.raises(images.ImageGone):
        images.load(image=image)


def test_an_image_that_is_recorded_while_a_pass_looks_at_it_stays(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, really_ask = put(), objects.get_modified_time

    def ask(name: str) -> datetime:
        elsewhere(lambda: factories.record(image))
        return really_ask(name)

    monkeypatch.setattr(objects, "get_modified_time", ask)
    assert remove() == 0
    assert images.load(image=image) == b"an image"


def test_an_image_whose_recording_stands_still_before_its_commit_stays(objects: Storage) -> None:
    image, other = put(), put()
    with transaction.atomic():
        factories.record(image)
        assert elsewhere(remove) == 1
    assert names(objects) == [image.object_key]
    assert images.load(image=image) == b"an image"
    assert StoredImage.objects.get(object_key=other.object_key).purged_at is not None


def test_an_object_whose_recording_is_rolled_back_goes(objects: Storage) -> None:
    image = put()
    with transaction.atomic():
        factories.record(image)
        transaction.set_rollback(True)
    assert remove() == 1
    assert names(objects) == []


@pytest.mark.parametrize("really", [False, True], ids=["before the delete", "after the delete"])
def test_a_pass_that_is_killed_at_a_delete_is_finished_by_the_next(
    objects: Storage, monkeypatch: pytest.MonkeyPatch, really: bool
) -> None:
    for _ in range(3):
        put()
    monkeypatch.setattr(deletions, "_pool", ThreadPoolExecutor(1))
    really_delete, calls = objects.delete, iter(range(10))

    def delete(name: str) -> None:
        # No other thread outlives the process.
        if next(calls) == 0 and really:
            really_delete(name)
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(objects, "delete", delete)
        with pytest.raises(Killed):
            remove()
    assert remove() == 3 - really
    assert names(objects) == []


def test_an_object_that_cannot_be_deleted_stops_no_other_and_is_tried_again(
    objects: Storage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept, really_delete = [put() for _ in range(4)][1], objects.delete

    def delete(name: str) -> None:
        if name == kept.object_key:
            raise PermissionError(1, "not now")
        really_delete(name)

    with monkeypatch.context() as patched:
        patched.setattr(objects, "delete", delete)
        assert remove() == 3
    [record] = [record for record in caplog.records if record.name == "storage.orphans"]
    assert record.levelno == logging.ERROR
    assert kept.object_key in record.getMessage()
    assert names(objects) == [kept.object_key]
    assert remove(minutes=0) == 1


def test_more_objects_than_a_batch_go_in_one_pass(
    stored: Store, objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orphans, "BATCH_NAMES", 3)
    live = [stored(expires_at=EXPIRES_AT + timedelta(hours=hour)) for hour in range(5)]
    for _ in range(7):
        put()
    assert remove() == 7
    assert sorted(names(objects)) == sorted(image.object_key for image in live)


def test_a_pass_ends_when_its_time_is_over(objects: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    put()
    with monkeypatch.context() as patched:
        patched.setattr(orphans, "MAX_PASS_SECONDS", -1)
        assert remove() == 0
    assert remove() == 1


def test_orphans_whose_deletion_hangs_delay_no_other(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = {put().object_key, put().object_key}
    left, all_others, really_delete = {put().object_key for _ in range(6)}, threading.Event(), objects.delete

    def delete(name: str) -> None:
        if name in hanging:
            assert all_others.wait(60)
        really_delete(name)
        left.discard(name)
        if not left:
            all_others.set()

    monkeypatch.setattr(objects, "delete", delete)
    assert remove() == 8
    assert names(objects) == []


def test_what_a_look_at_the_store_left_goes_and_gets_no_row(objects: Storage) -> None:
    objects.save("readyz/0123456789abcdef", ContentFile(b"ready"))
    assert remove(minutes=14) == 0
    assert remove(minutes=16) == 1
    assert names(objects) == []
    assert not StoredImage.objects.exists()


def test_what_a_killed_put_left_half_written_goes_and_gets_no_row(objects: Storage) -> None:
    objects.save(f"2030/01/02/03/{'ab' * 16}{PARTIAL_SUFFIX}", ContentFile(b"an ima"))
    assert remove(minutes=14) == 0
    assert remove(minutes=16) == 1
    assert names(objects) == []
    assert not StoredImage.objects.exists()


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "backups/2030/01/02/03/" + "ab" * 16,
        "2030/01/02/" + "ab" * 16,
        "2030/01/02/03/notes.txt",
        "2030/01/02/03/04/" + "ab" * 16,
        "2030/01/summer/03/" + "ab" * 16,
        "readyz/notes",
    ],
)
def test_what_this_project_would_not_name_so_is_left_alone(objects: Storage, name: str) -> None:
    objects.save(name, ContentFile(b"not ours"))
    assert remove(minutes=60 * 24 * 365 * 10) == 0
    assert names(objects) == [name]


def test_empty_folders_of_past_hours_go_and_others_stay(files: Storage, tmp_path: Path) -> None:
    root = tmp_path / "objects"
    kept = ["2030/01/02/03", "2030/01/02/04", "2030/02/01/00", "2031/01/01/00", "1999/03/notes"]
    for folder in ["2029/12/31/23", "2030/01/01/23", "2030/01/02/02", *kept]:
        (root / folder).mkdir(parents=True)
    assert orphans.remove(now=EXPIRES_AT) == 0
    left = {str(path.relative_to(root)) for path in root.rglob("*") if not any(path.iterdir())}
    assert left == set(kept)


def test_what_would_be_removed_can_be_listed_and_stays(stored: Store, objects: Storage) -> None:
    came_back, live = stored(), stored()
    images.destroy_keys(image_ids=[came_back.pk])
    images.purge()
    objects.save(came_back.object_key, ContentFile(b"a late upload"))
    nobodys = put()
    before = names(objects)
    assert list(orphans.find(now=in_minutes(14))) == []
    found = list(orphans.find(now=in_minutes(16)))
    assert found == sorted([came_back.object_key, nobodys.object_key])
    assert live.object_key not in found
    assert names(objects) == before
    assert StoredImage.objects.count() == 2


def test_an_object_that_is_deleted_while_it_is_listed_is_not_named(
    objects: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = put()
    listdir = type(objects).listdir

    def overtaken(store: Storage, path: str) -> tuple[list[str], list[str]]:
        listed = listdir(store, path)
        if listed[1]:
            images.discard(image=image)
        return listed

    monkeypatch.setattr(type(objects), "listdir", overtaken)
    assert list(orphans.find(now=in_minutes(16))) == []


def test_a_store_in_which_nothing_was_ever_put_has_no_orphans(objects: Storage) -> None:
    assert remove() == 0
    assert names(objects) == []


def test_a_pass_inside_a_transaction_is_refused(objects: Storage) -> None:
    image = put()
    with transaction.atomic(), pytest.raises(images.TransactionOpen):
        remove()
    assert names(objects) == [image.object_key]


def test_passes_purges_and_puts_at_once_lose_no_image(stored: Store, objects: Storage) -> None:
    living = [stored() for _ in range(10)]
    for _ in range(10):
        put()
    for _ in range(10):
        stored(expires_at=EXPIRES_AT - timedelta(days=3650))

    with ThreadPoolExecutor(9) as pool:
        passes = pool.map(lambda _: elsewhere(remove), range(3))
        purges = pool.map(lambda _: elsewhere(images.purge), range(2))
        recorded = [pool.submit(elsewhere, lambda: factories.record(put())) for _ in range(10)]
        assert sum(purges) == 10
        assert sum(passes) >= 10
    # In a pass an hour from now a put of this moment is old, so it may lose to it, and then knows.
    for outcome in recorded:
        if outcome.exception() is None:
            living.append(outcome.result())
        else:
            # It got a tombstone before it was recorded, or a folder lost it while it was still being written.
            assert isinstance(outcome.exception(), IntegrityError | FileNotFoundError)
    assert [images.load(image=image) for image in living] == [b"an image"] * len(living)
    remove(minutes=120)
    assert sorted(names(objects)) == sorted(image.object_key for image in living)


def test_the_task_and_the_command_remove_orphans(objects: Storage) -> None:
    put()
    assert tasks.remove_orphans.name == "storage.tasks.remove_orphans"
    tasks.remove_orphans.run()
    assert said_by_purge() == "0 images purged\n0 orphans removed\n"
    assert said_by_purge("--orphans-older-than", "0") == "0 images purged\n1 orphans removed\n"
    assert names(objects) == []
    with pytest.raises(CommandError, match="whole number"):
        said_by_purge("--orphans-older-than=-1")


def said_by_purge(*arguments: str) -> str:
    output = StringIO()
    call_command("purge", *arguments, stdout=output)
    return output.getvalue()
