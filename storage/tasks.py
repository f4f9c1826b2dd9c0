"""The Celery tasks of this package. Each task is one call into it."""

from celery import shared_task
from django.utils import timezone

from storage import images, orphans
from storage.postgresql.availability import UNAVAILABLE


@shared_task(throws=UNAVAILABLE)
def purge() -> None:
    """Purge the expired images. May run twice or at once: the second run finds less to do, or nothing."""
    images.purge()


@shared_task(throws=UNAVAILABLE)
def remove_orphans() -> None:
    """Delete objects that no image needs.

    May run twice or at once: the second run finds less to do, or nothing.
    """
    orphans.remove(now=timezone.now())
