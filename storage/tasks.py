"""The tasks of this package. Each is one call into it."""

from celery import shared_task
from django.utils import timezone

from storage import images, orphans


@shared_task
def purge() -> None:
    """Purges what has expired. Run twice, or by two workers at once, the second finds less to do, or none."""
    images.purge()


@shared_task
def remove_orphans() -> None:
    """Deletes objects that no image needs. Run twice, or by two workers at once, the second finds less, or none."""
    orphans.remove(now=timezone.now())
