"""Objects that no image needs: put by who died before recording them, or come back after their purge.

Writes no row itself and reads no object. Only what this project names is looked at, so that what else lies in the same
folder or bucket stays; but one store belongs to one database, for what another one recorded has no row in ours.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from django.core.files.storage import FileSystemStorage, Storage, storages

from storage import images
from storage.file_store import PARTIAL_SUFFIX
from storage.models import StoredImage

logger = logging.getLogger(__name__)

# Longer than any lease or request: by then whoever put an object has recorded it, or is dead, or may be refused.
OLDER_THAN_SECONDS = 15 * 60
# A pass that meets a slow store ends after this; the next one goes on.
PASS_SECONDS = 60.0
BATCH_NAMES = 500
# The year, month, day and hour that `images.put` begins a name with, and what it ends with: random, then what a
# store adds.
_FOLDERS: Final = (r"\d{4}", r"\d{2}", r"\d{2}", r"\d{2}")
_NAME: Final = re.compile(r"[0-9a-f]{16,32}[._]?\w{0,20}", re.ASCII)
# What a look at the store's health writes, and deletes at once if it lives.
_PROBES: Final = "readyz"


class _Pass(NamedTuple):
    store: Storage
    now: datetime
    cutoff: datetime
    give_up_at: float


def remove(*, now: datetime, older_than_seconds: int = OLDER_THAN_SECONDS) -> int:
    """Deletes every object without a live row that by the store's time is older than this; returns how many.

    No image loses its object by it, whatever the clocks say: a name without a row gets a tombstone before its bytes are
    deleted, and whoever then records it is refused. An upload that arrives afterwards is found by the next pass. May
    be killed at any point, and any number may run at once. Raises TransactionOpen inside a transaction.
    """
    run = _Pass(
        store=storages["objects"],
        now=now,
        cutoff=now - timedelta(seconds=older_than_seconds),
        give_up_at=time.monotonic() + PASS_SECONDS,
    )
    removed_count = 0
    for folder, found in _walk(run.store):
        removed_count += sum(_remove_some(run, batch) for batch in found)
        _drop_past(run, folder)
    return removed_count


def find(*, now: datetime, older_than_seconds: int = OLDER_THAN_SECONDS) -> Iterator[str]:
    """The names of the objects without a live row that by the store's time are older than this; changes nothing."""
    cutoff = now - timedelta(seconds=older_than_seconds)
    for _, found in _walk(storages["objects"]):
        for batch in found:
            live = StoredImage.objects.filter(object_key__in=batch, purged_at__isnull=True)
            without_row = set(batch) - set(live.values_list("object_key", flat=True))
            yield from (name for name in sorted(without_row) if _is_older(storages["objects"], name, cutoff))


def _walk(store: Storage) -> Iterator[tuple[str, list[list[str]]]]:
    """Each folder that may hold objects of ours, after those within it, with the names in it in batches."""
    yield _PROBES, _batches(_names(store, _PROBES)[1])
    yield from _walk_within(store, "", 0)


def _walk_within(store: Storage, folder: str, depth: int) -> Iterator[tuple[str, list[list[str]]]]:
    subfolders, names = _names(store, folder)
    if depth < len(_FOLDERS):
        ours = (name for name in subfolders if re.fullmatch(_FOLDERS[depth], name.rpartition("/")[2]))
        for name in ours:
            yield from _walk_within(store, name, depth + 1)
        names = []
    yield folder, _batches(names)


def _batches(names: list[str]) -> list[list[str]]:
    return [names[start : start + BATCH_NAMES] for start in range(0, len(names), BATCH_NAMES)]


def _drop_past(run: _Pass, folder: str) -> None:
    """Removes the folder if it is a real one of an hour, or day, or year, that gets nothing new."""
    # The names of hours sort as the hours do, and the probes' folder after them all.
    this_hour = f"{run.now.astimezone(UTC):%Y/%m/%d/%H}"
    if isinstance(run.store, FileSystemStorage) and folder < this_hour[: len(folder)]:
        # Whatever is left in it keeps it.
        with suppress(OSError):
            run.store.delete(folder)


def _names(store: Storage, folder: str) -> tuple[list[str], list[str]]:
    """The folders and the objects of ours in the folder, by their whole names."""
    try:
        folders, objects = store.listdir(folder)
    except FileNotFoundError:
        # Another pass was faster, or nothing was ever put.
        return [], []
    path = f"{folder}/" if folder else ""
    return [path + name for name in sorted(folders)], [
        path + name for name in objects if _NAME.fullmatch(name)
    ]


def _remove_some(run: _Pass, names: Sequence[str]) -> int:
    rows = StoredImage.objects.filter(object_key__in=names)
    purged_at = dict(rows.values_list("object_key", "purged_at"))
    return sum(_remove(run, name, purged_at) for name in names)


def _remove(run: _Pass, name: str, purged_at: Mapping[str, datetime | None]) -> bool:
    try:
        if time.monotonic() > run.give_up_at or not _is_nobodys(run, name, purged_at):
            return False
        run.store.delete(name)
    except FileNotFoundError:
        # Another pass was faster.
        return False
    except OSError:
        # The next pass tries again, and the other objects must not wait for this one.
        logger.exception("The orphan %s could not be deleted.", name)
        return False
    return True


def _is_nobodys(run: _Pass, name: str, purged_at: Mapping[str, datetime | None]) -> bool:
    if name in purged_at:
        # What came back after its purge has no key; what is not purged is an image's, or the purge's to delete.
        return purged_at[name] is not None
    if run.store.get_modified_time(name) > run.cutoff:
        return False
    # Only a whole object of `images.put` is ever recorded.
    recordable = not name.startswith(_PROBES) and not name.endswith(PARTIAL_SUFFIX)
    return not recordable or images.write_tombstone(object_key=name, now=run.now)


def _is_older(store: Storage, name: str, cutoff: datetime) -> bool:
    try:
        return store.get_modified_time(name) <= cutoff
    except FileNotFoundError:
        # It was deleted since its folder was listed.
        return False
