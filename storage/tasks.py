"""The tasks of this package. Each is one call into it."""

from celery import shared_task

from storage import images


@shared_task
def purge() -> None:
    """Purges what has expired. Run twice, or by two workers at once, the second finds less to do, or none."""
    images.purge()
