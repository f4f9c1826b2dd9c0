"""Expiry: after the quiet, time goes on until the last image is gone, and the promised times are checked."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import QuerySet

from storage import images
from storage.models import StoredImage
from tests.simulation.machines import remove_orphans
from tests.simulation.simulator import Simulator
from tests.simulation.store import Objects, label_of

# The promises. An object without a row is gone half an hour later, because beat looks every 15 minutes for objects of
# that age. A key is destroyed within a minute of its expiry.
ORPHAN_LIFE: Final = timedelta(minutes=30)
KEY_GRACE: Final = timedelta(minutes=1)
MOMENT: Final = timedelta(seconds=1)


def of_the_end(simulator: Simulator, objects: Objects) -> Iterator[str]:
    """Yield what is there for too long, and what goes too early."""
    simulator.now += ORPHAN_LIFE
    images.purge()
    remove_orphans()
    yield from _strays(objects)
    purge_interval: timedelta = settings.CELERY_BEAT_SCHEDULE["purge"]["schedule"]
    for expires_at in sorted(set(_with_key().values_list("expires_at", flat=True))):
        simulator.now = max(simulator.now, expires_at - MOMENT)
        yield from _gone_early(simulator)
        # By its timetable beat's purge may have run just before the expiry.
        simulator.now = max(simulator.now, expires_at + purge_interval)
        images.purge()
        simulator.now = max(simulator.now, expires_at + KEY_GRACE)
        yield from _left_over(simulator)
    remove_orphans()
    yield from _strays(objects)


def _with_key() -> QuerySet[StoredImage]:
    return StoredImage.objects.filter(wrapped_key__isnull=False)


def _gone_early(simulator: Simulator) -> Iterator[str]:
    live = set(_with_key().filter(expires_at__gt=simulator.now).values_list("pk", flat=True))
    images.purge()
    if live - set(_with_key().values_list("pk", flat=True)):
        yield "the key of an image is destroyed before it has expired"


def _left_over(simulator: Simulator) -> Iterator[str]:
    if _with_key().filter(expires_at__lte=simulator.now - KEY_GRACE).exists():
        yield "the key of an image is there a minute after it expired"
    # This store deletes at once.
    if StoredImage.objects.filter(wrapped_key__isnull=True, purged_at__isnull=True).exists():
        yield "the object of an image without a key is not deleted"


def _strays(objects: Objects) -> Iterator[str]:
    live = set(StoredImage.objects.filter(purged_at__isnull=True).values_list("object_key", flat=True))
    yield from (f"{label_of(name)} is left in the store" for name in objects.contents if name not in live)
