"""Orphans: objects whose process died before recording them, and objects that came back after their purge.

The module writes no row itself and reads no object. It only touches objects with this project's names, so other files
in the same folder or bucket stay. One store must belong to one database, because objects that another database
recorded have no row in this one.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final, NamedTuple

from django.core.files.storage import FileSystemStorage, Storage, storages

from storage import images
from storage.deletions import Delayed, Deletions
from storage.file_store import PARTIAL_SUFFIX
from storage.models import StoredImage

log = logging.getLogger(__name__)

# This is longer than any lease or request. A process that put an object has recorded it by then, or is dead, or may
# be refused.
OLDER_THAN_SECONDS: Final = 15 * 60
# A pass over a slow store ends after this many seconds. The next pass continues.
MAX_PASS_SECONDS: Final = 60.0
BATCH_NAMES: Final = 500
# A name from `images.put` begins with year, month, day and hour. It ends with random digits and the store's suffix.
_FOLDERS: Final = (r"\d{4}", r"\d{2}", r"\d{2}", r"\d{2}")
_NAME: Final = re.compile(r"[0-9a-f]{16,32}[._]?\w{0,20}", re.ASCII)
# The health check of the store writes its objects here and deletes them at once, unless its process dies.
_PROBES: Final = "readyz"
_delayed: Final = Delayed[str]()


class _Pass(NamedTuple):
    store: Storage
    now: datetime
    cutoff: datetime
    give_up_at: float


def remove(*, now: datetime, older_than_seconds: int = OLDER_THAN_SECONDS) -> int:
    """Delete every object without a live row that is older than this by the store's clock. Return their number.

    No image loses its object, whatever the clocks say: a name without a row gets a tombstone before its bytes are
    deleted, and a transaction that records the name afterwards is refused. The next pass finds an upload that arrives
    later. A pass may be killed at any point, and any number may run at once. Raises TransactionOpen inside a
    transaction.
    """
    run = _Pass(
        store=storages["objects"],
        now=now,
        cutoff=now - timedelta(seconds=older_than_seconds),
        give_up_at=time.monotonic() + MAX_PASS_SECONDS,
    )
    folders: list[str] = []
    deletions = Deletions(delayed=_delayed, give_up_at=run.give_up_at)
    removed_count = sum(len(names) for names in deletions.run(_list_orphans(run, folders)))
    for folder in folders:
        _drop_past(run, folder)
    return removed_count


def find(*, now: datetime, older_than_seconds: int = OLDER_THAN_SECONDS) -> Iterator[str]:
    """Yield the names of objects without a live row that are older than this by the store's clock.

    Change nothing.
    """
    cutoff = now - timedelta(seconds=older_than_seconds)
    for _, found in _walk(storages["objects"]):
        for batch in found:
            live = StoredImage.objects.filter(object_key__in=batch, purged_at__isnull=True)
            without_row = set(batch) - set(live.values_list("object_key", flat=True))
            yield from (name for name in sorted(without_row) if _is_older(storages["objects"], name, cutoff))


def _walk(store: Storage) -> Iterator[tuple[str, list[list[str]]]]:
    """Yield each folder that may hold this project's objects, with its names in batches, subfolders first."""
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
    """Remove the folder of a past hour, day, month or year if it is a real folder. It gets no new objects."""
    # The names of hours sort like the hours, and the folder of the health check sorts after all of them.
    this_hour = f"{run.now.astimezone(UTC):%Y/%m/%d/%H}"
    if isinstance(run.store, FileSystemStorage) and folder < this_hour[: len(folder)]:
        # A folder that is not empty stays.
        with suppress(OSError):
            run.store.delete(folder)


def _names(store: Storage, folder: str) -> tuple[list[str], list[str]]:
    """Return the full names of the subfolders and of this project's objects in the folder."""
    try:
        folders, objects = store.listdir(folder)
    except FileNotFoundError:
        # Another pass removed the folder, or nothing was ever put.
        return [], []
    path = f"{folder}/" if folder else ""
    return [path + name for name in sorted(folders)], [
        path + name for name in objects if _NAME.fullmatch(name)
    ]


def _list_orphans(run: _Pass, folders: list[str]) -> Iterator[list[tuple[str, Callable[[], bool]]]]:
    """Yield the deletions of orphans in batches, and add the folders that were looked at.

    The objects that failed or hung before come last.
    """
    delayed, last = set(_delayed.keys()), list[str]()
    for folder, found in _walk(run.store):
        for names in found:
            yield _deletions(run, [name for name in names if name not in delayed])
            last += [name for name in names if name in delayed]
        folders.append(folder)
    for names in _batches(last):
        yield _deletions(run, names)


def _deletions(run: _Pass, names: Sequence[str]) -> list[tuple[str, Callable[[], bool]]]:
    rows = StoredImage.objects.filter(object_key__in=names)
    purged_at = dict(rows.values_list("object_key", "purged_at"))
    return [(name, partial(_delete, run, name)) for name in names if _is_orphan(run, name, purged_at)]


def _delete(run: _Pass, name: str) -> bool:
    try:
        run.store.delete(name)
    except OSError:
        # The next pass tries again, and the other objects must not wait for this one.
        log.exception("The orphan %s could not be deleted.", name)
        return False
    return True


def _is_orphan(run: _Pass, name: str, purged_at: Mapping[str, datetime | None]) -> bool:
    try:
        return time.monotonic() <= run.give_up_at and _is_nobodys(run, name, purged_at)
    except FileNotFoundError:
        # Another pass deleted the object.
        return False
    except OSError:
        _delayed.add(name)
        log.exception("The object %s could not be looked at.", name)
        return False


def _is_nobodys(run: _Pass, name: str, purged_at: Mapping[str, datetime | None]) -> bool:
    if name in purged_at:
        # An object that came back after its purge has no key. An object that is not purged belongs to an image or to
        # the purge.
        return purged_at[name] is not None
    if run.store.get_modified_time(name) > run.cutoff:
        return False
    # A partial file and an object of the health check are never recorded.
    recordable = not name.startswith(_PROBES) and not name.endswith(PARTIAL_SUFFIX)
    return not recordable or images.write_tombstone(object_key=name, now=run.now)


def _is_older(store: Storage, name: str, cutoff: datetime) -> bool:
    try:
        return store.get_modified_time(name) <= cutoff
    except FileNotFoundError:
        # The object was deleted after its folder was listed.
        return False
