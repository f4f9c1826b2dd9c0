"""Rotation of the master key: every live key and secret that another master key wraps is rewrapped by the first.

The module knows which rows exist. It does not know how a key is wrapped.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, NamedTuple, TypeVar

from django.db.models import Count, Model, QuerySet

from storage import images, keyring, sealed_secrets
from storage.models import SealedSecret, StoredImage

BATCH_ROWS: Final = 500
M = TypeVar("M", bound=Model)


class Rotation(NamedTuple):
    """The counts of live and rewrapped keys, and the rows that no master key opens, as staff read them."""

    live_count: int
    rewrapped_count: int
    unopened: list[str]


def rotate() -> Rotation:
    """Rewrap every live key by the first master key.

    Each row is its own statement, so nothing waits for a rotation. A rotation may run beside everything else, may be
    killed at any point and may run again. A key that a purge destroys in the meantime stays destroyed.
    """
    live_count, rewrapped_count, unopened = 0, 0, []
    for name, rewrap in _live_keys():
        live_count += 1
        try:
            rewrapped_count += rewrap()
        except keyring.KeyRefused:
            unopened.append(name)
    return Rotation(live_count, rewrapped_count, unopened)


def live_counts() -> dict[str, int]:
    """Return the number of live keys by the id of their master key."""
    counts: Counter[str] = Counter()
    for rows in (_live_images(), SealedSecret.objects.all()):
        counts.update(dict(rows.order_by().values_list("master_key_id").annotate(Count("pk"))))
    return dict(counts)


def _live_keys() -> Iterator[tuple[str, Callable[[], bool]]]:
    """Yield the name of each row with a key, and the call that rewraps it."""
    for image in _each(_live_images()):
        yield f"image {image.pk}", partial(images.rewrap, image=image)
    for secret in _each(SealedSecret.objects.all()):
        yield f"secret {secret.pk}", partial(sealed_secrets.rewrap, secret=secret)


def _live_images() -> QuerySet[StoredImage]:
    return StoredImage.objects.filter(wrapped_key__isnull=False)


def _each(rows: QuerySet[M]) -> Iterator[M]:
    """Yield the rows, batch by batch, so that no transaction or cursor stays open."""
    after_id = 0
    while batch := list(rows.filter(pk__gt=after_id).order_by("pk")[:BATCH_ROWS]):
        yield from batch
        after_id = batch[-1].pk
