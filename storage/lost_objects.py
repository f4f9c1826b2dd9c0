"""Live images whose objects the store no longer has.

After a restore of the database these are the images that were deleted after the backup, so their keys came back.
The module changes nothing.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.core.files.storage import Storage, storages
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from storage.models import StoredImage

_BATCH_ROWS: Final = 2000


def find(*, now: datetime | Combinable = Now()) -> Iterator[int]:
    """Yield the ids of the unexpired images with a key whose object is missing.

    It lists the folders of the hours in which live images expire, and reads no object. Raises what the store raises.
    """
    store = storages["objects"]
    live = _live(now).order_by("object_key")
    after = ""
    while rows := list(live.filter(object_key__gt=after).values_list("pk", "object_key")[:_BATCH_ROWS]):
        # An object is stored before its row, so a folder that is listed after the rows has the objects of all of them.
        folder, names = None, frozenset[str]()
        for image_id, object_key in rows:
            # The rows come in the order of their folders, so that each folder is listed once.
            if (hour := object_key.rpartition("/")[0]) != folder:
                folder, names = hour, _names(store, hour)
            if object_key.rpartition("/")[2] not in names:
                yield image_id
        after = rows[-1][1]


def count_live(*, now: datetime | Combinable = Now()) -> int:
    """Return the number of unexpired images with a key."""
    return _live(now).count()


def _live(now: datetime | Combinable) -> QuerySet[StoredImage]:
    return StoredImage.objects.filter(wrapped_key__isnull=False, expires_at__gt=now)


def _names(store: Storage, folder: str) -> frozenset[str]:
    try:
        return frozenset(store.listdir(folder)[1])
    except FileNotFoundError:
        return frozenset()
