"""Rotation of the master key: every live content key that another master key wraps is rewrapped by the first.

The module knows which rows exist. It does not know how a key is wrapped.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from django.db.models import Count

from storage import images, keyring
from storage.models import StoredImage

BATCH_ROWS: Final = 500


class Rotation(NamedTuple):
    """The counts of live and rewrapped keys, and the ids of images that no master key opens."""

    live_count: int
    rewrapped_count: int
    unopened_ids: list[int]


def rotate() -> Rotation:
    """Rewrap every live key by the first master key.

    Each row is its own statement, so nothing waits for a rotation. A rotation may run beside everything else, may be
    killed at any point and may run again. A key that a purge destroys in the meantime stays destroyed.
    """
    live_count, rewrapped_count, unopened_ids = 0, 0, []
    for image in _live_images():
        live_count += 1
        try:
            rewrapped_count += images.rewrap(image=image)
        except keyring.KeyRefused:
            unopened_ids.append(image.pk)
    return Rotation(live_count, rewrapped_count, unopened_ids)


def live_counts() -> dict[str, int]:
    """Return the number of live keys by the id of their master key."""
    live = StoredImage.objects.filter(wrapped_key__isnull=False)
    return dict(live.order_by().values_list("master_key_id").annotate(Count("pk")))


def _live_images() -> Iterator[StoredImage]:
    """Yield the images with a key, batch by batch, so that no transaction or cursor stays open."""
    after_id = 0
    while batch := list(
        StoredImage.objects.filter(wrapped_key__isnull=False, pk__gt=after_id).order_by("pk")[:BATCH_ROWS]
    ):
        yield from batch
        after_id = batch[-1].pk
