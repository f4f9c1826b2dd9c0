"""A new master key for keys that are wrapped already: reads every live row and has each wrapped anew that needs it.

Knows which rows there are, not how a key is wrapped.
"""

from collections.abc import Iterator
from typing import NamedTuple

from django.db.models import Count

from storage import images, keyring
from storage.models import StoredImage

BATCH_ROWS = 500


class Rotation(NamedTuple):
    """What became of the live keys: how many were looked at and wrapped anew, and which images no master key opens."""

    live_count: int
    rewrapped_count: int
    unopened_ids: list[int]


def rotate() -> Rotation:
    """Wraps every live key by the first master key; each row is its own statement, so nothing waits for it.

    May run beside everything else, be killed at any point, and be run again: a key that a purge destroys meanwhile
    stays destroyed.
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
    """How many live keys name each master key."""
    live = StoredImage.objects.filter(wrapped_key__isnull=False)
    return dict(live.order_by().values_list("master_key_id").annotate(Count("pk")))


def _live_images() -> Iterator[StoredImage]:
    """Batch by batch, so that no transaction or cursor stays open meanwhile."""
    after_id = 0
    while batch := list(
        StoredImage.objects.filter(wrapped_key__isnull=False, pk__gt=after_id).order_by("pk")[:BATCH_ROWS]
    ):
        yield from batch
        after_id = batch[-1].pk
