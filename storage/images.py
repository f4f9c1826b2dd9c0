"""The life of a stored image: put, recorded, loaded, its key destroyed, its bytes deleted. Owns its writes.

Knows not what made an image, who may see it or whether it has expired for a reader: that the caller decides.
"""

import logging
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import OperationalError, connection, transaction
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from psycopg.errors import LockNotAvailable

from storage import envelope, failpoints, keyring, statements
from storage.a256cbc_hs512 import SealBroken
from storage.models import StoredImage
from storage.statements import Statement, given

logger = logging.getLogger(__name__)

# A purge with a backlog ends after this many objects, minutes of a slow store; the next one goes on.
MAX_PURGED_IMAGES = 10_000
# And after this many seconds, so that a store which does not answer keeps no worker from its other chores.
PURGE_SECONDS = 25.0
# Rows changed by one statement: so few that nothing waits long for their locks.
BATCH_ROWS = 500
# A transaction that records the same object may hold the lock of its name; `write_tombstone` waits this long for it.
MAX_TOMBSTONE_WAIT_SECONDS: Final = 1


class ImageUnreadable(Exception):
    """The stored object is not the image that was sealed for this row."""


class ImageGone(Exception):
    """The image can no longer be read: its key is destroyed, or it was never recorded."""


class ObjectMissing(ImageGone):
    """The image has its key, but the store does not have its object."""


class TransactionOpen(Exception):
    """A transaction is open, and must not wait for the object store."""


class AlreadyRecorded(Exception):
    """The image has a row, so its object must stay until the purge."""


def put(*, content: bytes, mime_type: str, associated_data: str, expires_at: datetime) -> StoredImage:
    """Seals `content` into the store and returns its row, not yet saved: `record` or `discard` it.

    `associated_data` says what the image belongs to, and the seal holds it there. Raises TransactionOpen inside a
    transaction. A put that is cut short leaves at most an object, whole or torn, that no row and no key opens.
    """
    _refuse_open_transaction()
    if not content:
        raise ValueError("An image has at least one byte.")
    content_key = secrets.token_bytes(envelope.CONTENT_KEY_BYTE_COUNT)
    master_key_id, wrapped_key = keyring.wrap(content_key=content_key)
    sealed = envelope.seal(
        content=content,
        content_key=content_key,
        master_key_id=master_key_id,
        associated_data=associated_data,
        mime_type=mime_type,
    )
    return StoredImage(
        # The store may choose another name than the one it was given.
        object_key=_objects().save(_object_key(expires_at), ContentFile(sealed)),
        associated_data=associated_data,
        mime_type=mime_type,
        byte_count=len(content),
        algorithm=envelope.ALGORITHM,
        master_key_id=master_key_id,
        wrapped_key=wrapped_key,
        expires_at=expires_at,
    )


def discard(*, image: StoredImage) -> None:
    """Deletes the object of an image that was never recorded; may be called twice.

    A store that fails keeps it, until the orphans are removed. Raises AlreadyRecorded when there is a row that needs
    it. While the outcome of a COMMIT is unknown, do not call it.
    """
    if StoredImage.objects.filter(object_key=image.object_key, purged_at__isnull=True).exists():
        raise AlreadyRecorded
    try:
        _objects().delete(image.object_key)
    except OSError as error:
        # Why it is not needed any more is what the caller has to say, and must not be lost over this.
        logger.warning(
            "The object %s could not be deleted, and is an orphan now: %s", image.object_key, error
        )


def record(*, image: StoredImage, expires_at: datetime | Combinable | None = None) -> StoredImage:
    """Inserts the row of an image that was put, in the caller's transaction.

    `expires_at` replaces the time given to `put` (such as the database's `Now()` and a day), and what is given back
    has it as it was said: the row alone has the moment that it came to. The object keeps
    its name, so the hour in that name may be earlier than the row's by what lay between the two. Raises
    IntegrityError when the image is recorded already, or has a tombstone.
    """
    if expires_at is not None:
        image.expires_at = expires_at
    statements.insert(image)
    return image


def load(*, image: StoredImage) -> bytes:
    """The content of a recorded image, verified. Does not look at `expires_at`: that is the caller's to do.

    Raises ImageGone once the key is destroyed, ObjectMissing when the object has been lost, and
    ImageUnreadable when it is anything but what was sealed for this row.
    """
    sealed = _read(image)
    # The key is read last and from the table: a row read long ago opens nothing once its key is destroyed.
    row = statements.written(_with_key).one(image_id=image.pk)
    if row is None:
        raise ImageGone
    if sealed is None:
        logger.error("Image %s has lost its object %s.", row.pk, row.object_key)
        raise ObjectMissing
    try:
        return _unseal(row, sealed)
    except (keyring.KeyRefused, SealBroken):
        logger.error("Image %s does not open under master key %r.", row.pk, row.master_key_id)
        raise ImageUnreadable from None


def destroy_keys(*, image_ids: Iterable[int], now: datetime | Now = Now()) -> None:
    """Makes the images unreadable for good once the caller's transaction commits; a purge deletes the bytes.

    May be called twice: the second changes nothing.
    """
    rows = StoredImage.objects.filter(pk__in=image_ids, wrapped_key__isnull=False)
    rows.update(wrapped_key=None, key_destroyed_at=now)


def purge(*, now: datetime | Now = Now(), limit: int = MAX_PURGED_IMAGES) -> int:
    """Destroys the keys of expired images, then deletes the bytes of up to `limit` images without key.

    Returns how many images this call finished. Any number may run at once, and each may be killed at any
    point: every step is committed before the next begins, and the next purge goes on from there. Raises
    TransactionOpen inside a transaction.
    """
    _refuse_open_transaction()
    _destroy_expired_keys(now)
    failpoints.reach("keys_destroyed")
    purged_count, after_id, give_up_at = 0, 0, time.monotonic() + PURGE_SECONDS
    while limit > 0 and time.monotonic() < give_up_at:
        batch = list(_without_key().filter(pk__gt=after_id).order_by("pk")[: min(limit, BATCH_ROWS)])
        if not batch:
            break
        deleted_ids = list(_delete_objects(batch, give_up_at))
        purged_count += _update_unlocked(_without_key().filter(pk__in=deleted_ids), purged_at=now)
        limit, after_id = limit - len(batch), batch[-1].pk
    return purged_count


def write_tombstone(*, object_key: str, now: datetime) -> bool:
    """Makes sure that the object belongs to no image and never will; True when its bytes may be deleted.

    An object without a row gets one that says purged, which refuses whoever comes late to record it: their
    transaction rolls back. False for an image that is recorded and not purged, and, after MAX_TOMBSTONE_WAIT_SECONDS,
    while a transaction that records it is still open. Raises TransactionOpen inside a transaction.
    """
    _refuse_open_transaction()
    row = StoredImage(
        object_key=object_key,
        associated_data="nothing",
        # Nobody knows what it was, and a row has at least one byte.
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
    """Wraps the key of a recorded image anew if the first master key did not wrap it; says whether it did.

    Changes nothing, and says so, when the key was destroyed or rewrapped since `image` was read. Raises KeyRefused
    when no master key opens it.
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


def _delete_objects(batch: Sequence[StoredImage], give_up_at: float) -> Iterator[int]:
    """Ids of the images whose objects are gone."""
    for image in batch:
        if time.monotonic() >= give_up_at:
            return
        if _delete_object(image):
            yield image.pk


def _delete_object(image: StoredImage) -> bool:
    try:
        # A store says nothing of an object that is already gone, which is what we want.
        _objects().delete(image.object_key)
    except Exception:
        # Each store fails in its own way. The key is destroyed, so the bytes are of no use to anybody until
        # the next purge tries again, and the other objects must not wait for this one.
        logger.exception("The object %s of image %s could not be deleted.", image.object_key, image.pk)
        return False
    failpoints.reach("object_deleted")
    return True


def _update_unlocked(rows: QuerySet[StoredImage], **changes: object) -> int:
    # What another purge is changing at this moment it will also commit: passing over it, nobody waits and
    # nothing deadlocks. A key that refers to the row is no reason to pass over it, hence `no_key`.
    with transaction.atomic(durable=True):
        unlocked = rows.select_for_update(skip_locked=True, no_key=True).values("pk")
        return StoredImage.objects.filter(pk__in=unlocked).update(**changes)


def _with_key() -> Statement[StoredImage]:
    return statements.selection(StoredImage.objects.filter(pk=given("image_id"), wrapped_key__isnull=False))


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
        with _objects().open(image.object_key) as file:
            # An object that somebody made longer is cut off here and refused by its tag.
            content: bytes = file.read(image.byte_count + envelope.MAX_OVERHEAD_BYTE_COUNT)
            return content
    except FileNotFoundError:
        return None


def _object_key(expires_at: datetime) -> str:
    # What is past its time is found by prefix, and a bucket's own rule can back the purge up.
    return f"{expires_at.astimezone(UTC):%Y/%m/%d/%H}/{secrets.token_hex(16)}"


def _objects() -> Storage:
    return storages["objects"]


def _refuse_open_transaction() -> None:
    try:
        # Django's own way to ask: it raises inside a transaction, and does not count a test case's.
        with transaction.atomic(durable=True, savepoint=False):
            pass
    except RuntimeError as error:
        raise TransactionOpen from error
