"""The life of a stored image: put, recorded, loaded, its key destroyed, its bytes deleted.

The module alone writes the rows of StoredImage. It does not know what made an image, who may see it or whether it has
expired for a reader: the caller decides that.
"""

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest, Least, Now
from psycopg.errors import LockNotAvailable

from storage import envelope, failpoints, keyring
from storage.a256cbc_hs512 import SealBroken
from storage.deletions import Delayed, Deletions
from storage.metrics import STORE_SECONDS
from storage.models import StoredImage
from storage.postgresql import plain_sql

log = logging.getLogger(__name__)

# A purge with a backlog ends after this many objects, which take a slow store minutes. The next purge continues.
MAX_PURGED_IMAGES: Final = 10_000
# A purge also ends after this many seconds, so that a store that does not answer blocks no worker for longer.
MAX_PURGE_SECONDS: Final = 25.0
# One statement changes this many rows at most, so that nothing waits long for their locks.
BATCH_ROWS: Final = 500
# A transaction that records the same object holds the lock of its name, and `write_tombstone` waits this long for it.
MAX_TOMBSTONE_WAIT_SECONDS: Final = 1
_delayed: Final = Delayed[int]()
_RECORDED: Final = (
    "object_key",
    "associated_data",
    "mime_type",
    "byte_count",
    "algorithm",
    "master_key_id",
    "wrapped_key",
    "expires_at",
)
_RECORD: Final = """
image AS (
    INSERT INTO storage_storedimage (object_key, bound_to, mime_type, byte_count, algorithm, master_key_id, wrapped_key,
        expires_at)
    SELECT object_key, bound_to, mime_type, byte_count, algorithm, master_key_id, wrapped_key, {expires_at}
    FROM unnest(%(image_object_key)s::text[], %(image_associated_data)s::text[], %(image_mime_type)s::text[],
        %(image_byte_count)s::bigint[], %(image_algorithm)s::text[], %(image_master_key_id)s::text[],
        %(image_wrapped_key)s::bytea[], %(image_expires_at)s::timestamptz[])
        AS put (object_key, bound_to, mime_type, byte_count, algorithm, master_key_id, wrapped_key, expires_at)
    WHERE EXISTS (SELECT FROM {after})
    RETURNING id, object_key, expires_at
)"""
_WITH_KEY: Final = f"""
SELECT {plain_sql.columns(StoredImage, "image")} FROM storage_storedimage image
WHERE id = %(image_id)s AND wrapped_key IS NOT NULL
"""  # noqa: S608 (only column names of the model are inserted)


class ImageUnreadable(Exception):
    """The stored object does not open as the image that was sealed for this row."""


class ImageGone(Exception):
    """The image can no longer be read: its key is destroyed, or it was never recorded."""


class ObjectMissing(ImageGone):
    """The image has its key, but the store does not have its object."""


class TransactionOpen(Exception):
    """The caller has an open transaction, which must not wait for the object store."""


class AlreadyRecorded(Exception):
    """The image has a row, so its object must stay until a purge deletes it."""


def put(*, content: bytes, mime_type: str, associated_data: str, expires_at: datetime) -> StoredImage:
    """Seal `content`, store it and return its unsaved row. The caller must record or `discard` it.

    `associated_data` names the owner of the image, and the seal binds the image to it. Raises TransactionOpen inside
    a transaction. An interrupted put leaves at most one object, whole or partial, that no row and no key opens.
    """
    _refuse_open_transaction()
    if not content:
        raise ValueError("content must have at least one byte.")
    content_key = secrets.token_bytes(envelope.CONTENT_KEY_BYTE_COUNT)
    master_key_id, wrapped_key = keyring.wrap(content_key=content_key)
    sealed = envelope.seal(
        content=content,
        content_key=content_key,
        master_key_id=master_key_id,
        associated_data=associated_data,
        mime_type=mime_type,
    )
    with STORE_SECONDS.labels("put").time():
        # The store may choose another name than the one it was given.
        object_key = _objects().save(_object_key(expires_at), ContentFile(sealed))
    return StoredImage(
        object_key=object_key,
        associated_data=associated_data,
        mime_type=mime_type,
        byte_count=len(content),
        algorithm=envelope.ALGORITHM,
        master_key_id=master_key_id,
        wrapped_key=wrapped_key,
        expires_at=expires_at,
    )


def discard(*, image: StoredImage) -> None:
    """Delete the object of an image that was never recorded. May be called twice.

    If the store fails, the object stays until the orphans are removed. Raises AlreadyRecorded when a row needs the
    object. Must not be called while the outcome of a COMMIT is unknown.
    """
    if StoredImage.objects.filter(object_key=image.object_key, purged_at__isnull=True).exists():
        raise AlreadyRecorded
    try:
        _delete(image.object_key)
    except OSError as error:
        # The caller usually handles an error of its own here, and this one must not replace it.
        log.warning("The object %s could not be deleted and is now an orphan: %s", image.object_key, error)


def record(*, after: str, expires_at: str = "put.expires_at") -> str:
    """Return the CTE `image`, which records the images that were put, if the CTE `after` has rows.

    `expires_at` is an expression. By default each image keeps the time that `put` got. The object keeps its name, so
    the hour in the name may be earlier than the row's by the time between `put` and the statement. The statement
    raises IntegrityError when an image is already recorded or has a tombstone.
    """
    return _RECORD.format(after=after, expires_at=expires_at)


def record_values(put: Sequence[StoredImage]) -> dict[str, list[Any]]:
    """Return the values of a statement with `record`, for images that were put."""
    return {f"image_{name}": [getattr(image, name) for image in put] for name in _RECORDED}


def load(*, image: StoredImage) -> bytes:
    """Return the verified content of a recorded image. The caller must check `expires_at` itself.

    Raises ImageGone after the key is destroyed, ObjectMissing when the store has lost the object, and ImageUnreadable
    when the object is not the one that was sealed for this row.
    """
    sealed = _read(image)
    # The key is read last and from the table, so that an older instance of the row opens nothing after the key is
    # destroyed.
    rows = plain_sql.execute(_WITH_KEY, {"image_id": image.pk})
    if not rows:
        raise ImageGone
    row = plain_sql.instance(StoredImage, rows[0])
    if sealed is None:
        log.error("Image %s has lost its object %s.", row.pk, row.object_key)
        raise ObjectMissing
    try:
        return _unseal(row, sealed)
    except (keyring.KeyRefused, SealBroken):
        log.error("Image %s does not open under master key %r.", row.pk, row.master_key_id)
        raise ImageUnreadable from None


def destroy_keys(*, image_ids: Iterable[int], now: datetime | Combinable = Now()) -> None:
    """Destroy the images' keys. The images are unreadable for good once the caller's transaction commits.

    A purge deletes the bytes later. May be called twice: the second call changes nothing.
    """
    rows = StoredImage.objects.filter(pk__in=image_ids, wrapped_key__isnull=False)
    rows.update(wrapped_key=None, key_destroyed_at=now)


def expire(*, image_id: int, expires_at: datetime, now: datetime | Combinable = Now()) -> None:
    """Destroy the image's key, and let the image expire at this time unless it expires earlier. May be called twice."""
    destroy_keys(image_ids=[image_id], now=now)
    StoredImage.objects.filter(pk=image_id).update(expires_at=Least("expires_at", expires_at))


def purge(*, now: datetime | Now = Now(), limit: int = MAX_PURGED_IMAGES) -> int:
    """Destroy the keys of expired images, then delete the bytes of up to `limit` images without key.

    Returns the number of images that this call finished. An object whose deletion hangs or fails delays no other. Any
    number of purges may run at once, and each may be killed at any point: every step is committed before the next step
    begins, and the next purge continues from there. Raises TransactionOpen inside a transaction.
    """
    _refuse_open_transaction()
    _destroy_expired_keys(now)
    failpoints.reach("keys_destroyed")
    deletions = Deletions(delayed=_delayed, give_up_at=time.monotonic() + MAX_PURGE_SECONDS)
    batches = ([(image.pk, partial(_delete_object, image)) for image in batch] for batch in _batches(limit))
    # A clock that was set back must not tell that the bytes went before the key did.
    purged_at = Greatest(now, "key_destroyed_at")
    return sum(
        _update_unlocked(_without_key().filter(pk__in=deleted_ids), purged_at=purged_at)
        for deleted_ids in deletions.run(batches)
    )


def write_tombstone(*, object_key: str, now: datetime) -> bool:
    """Write a tombstone for an object without a row, and return whether the object's bytes may be deleted.

    A tombstone is a row that is already purged. A transaction that records the object later violates the unique name
    and rolls back. Returns False for an image that is recorded and not purged. Also returns False when a transaction
    that records the object is still open after MAX_TOMBSTONE_WAIT_SECONDS. May be called twice. Raises
    TransactionOpen inside a transaction.
    """
    _refuse_open_transaction()
    row = StoredImage(
        object_key=object_key,
        associated_data="nothing",
        # The real size is unknown, and a constraint requires at least one byte.
        byte_count=1,
        expires_at=now,
        key_destroyed_at=now,
        purged_at=now,
    )
    try:
        with transaction.atomic(durable=True), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [f"{MAX_TOMBSTONE_WAIT_SECONDS}s"])
            StoredImage.objects.bulk_create([row], ignore_conflicts=True)
            return StoredImage.objects.filter(object_key=object_key, purged_at__isnull=False).exists()
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable):
            return False
        raise


def rewrap(*, image: StoredImage) -> bool:
    """Rewrap the key of a recorded image unless the first master key wraps it already.

    Returns whether the key was rewrapped. Returns False and changes nothing when the key was destroyed or rewrapped
    since `image` was read. Raises KeyRefused when no master key opens the key.
    """
    opener_id, content_key = keyring.unwrap_by_any(
        master_key_id=image.master_key_id, wrapped_key=bytes(image.wrapped_key or b"")
    )
    wrapped = keyring.wrap(content_key=content_key)
    if (opener_id, image.master_key_id) == (wrapped.master_key_id, wrapped.master_key_id):
        return False
    unchanged = StoredImage.objects.filter(pk=image.pk, wrapped_key=image.wrapped_key)
    return unchanged.update(**wrapped._asdict()) == 1


def _destroy_expired_keys(now: datetime | Now) -> None:
    expired = StoredImage.objects.filter(wrapped_key__isnull=False, expires_at__lte=now).order_by(
        "expires_at"
    )
    while _update_unlocked(expired[:BATCH_ROWS], wrapped_key=None, key_destroyed_at=now) == BATCH_ROWS:
        pass


def _without_key() -> QuerySet[StoredImage]:
    return StoredImage.objects.filter(wrapped_key__isnull=True, purged_at__isnull=True)


def _batches(limit: int) -> Iterator[list[StoredImage]]:
    """Yield at most `limit` images to delete, last those whose deletion failed or hung before."""
    delayed_ids = _delayed.keys()
    for rows in (_without_key().exclude(pk__in=delayed_ids), _without_key().filter(pk__in=delayed_ids)):
        after_id = 0
        while batch := list(rows.filter(pk__gt=after_id).order_by("pk")[: min(limit, BATCH_ROWS)]):
            yield batch
            limit, after_id = limit - len(batch), batch[-1].pk


def _delete_object(image: StoredImage) -> bool:
    try:
        # A store raises no error for an object that is already gone, so a repeated deletion succeeds.
        _delete(image.object_key)
    except Exception:
        # Each store raises its own exceptions. The key is destroyed, so nobody can use the bytes until the next purge
        # tries again, and the other objects must not wait for this one.
        log.exception("The object %s of image %s could not be deleted.", image.object_key, image.pk)
        return False
    failpoints.reach("object_deleted")
    return True


def _delete(object_key: str) -> None:
    with STORE_SECONDS.labels("delete").time():
        _objects().delete(object_key)


def _update_unlocked(rows: QuerySet[StoredImage], **changes: object) -> int:
    # Another purge that has locked a row will also commit its change. Skipping such rows avoids waits and deadlocks.
    # A foreign key check locks a row only FOR KEY SHARE, and with `no_key` such a row is not skipped.
    with transaction.atomic(durable=True):
        unlocked = rows.select_for_update(skip_locked=True, no_key=True).values("pk")
        return StoredImage.objects.filter(pk__in=unlocked).update(**changes)


def _unseal(row: StoredImage, sealed: bytes) -> bytes:
    return envelope.unseal(
        sealed=sealed,
        content_key=keyring.unwrap(
            master_key_id=row.master_key_id, wrapped_key=bytes(row.wrapped_key or b"")
        ),
        algorithm=row.algorithm,
        associated_data=row.associated_data,
        mime_type=row.mime_type,
        byte_count=row.byte_count,
    )


def _read(image: StoredImage) -> bytes | None:
    try:
        with STORE_SECONDS.labels("get").time(), _objects().open(image.object_key) as file:
            # An object that somebody made longer is truncated here, and its tag is then refused.
            content: bytes = file.read(image.byte_count + envelope.MAX_OVERHEAD_BYTE_COUNT)
            return content
    except FileNotFoundError:
        return None


def _object_key(expires_at: datetime) -> str:
    # The prefix finds expired objects, so a bucket's own lifecycle rule can back the purge up.
    return f"{expires_at.astimezone(UTC):%Y/%m/%d/%H}/{secrets.token_hex(16)}"


def _objects() -> Storage:
    return storages["objects"]


def _refuse_open_transaction() -> None:
    try:
        # Django's own check raises inside a transaction, and ignores the transaction of a test case.
        with transaction.atomic(durable=True, savepoint=False):
            pass
    except RuntimeError as error:
        raise TransactionOpen from error
