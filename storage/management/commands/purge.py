"""`python manage.py purge`: what the periodic task does, now."""

from typing import Any

from django.core.management.base import BaseCommand

from storage import images


class Command(BaseCommand):
    """Purges what has expired and prints how many images that were; may be run at any time, by any number."""

    help = "Destroy the keys of expired images and delete their bytes."

    def handle(self, *args: Any, **options: Any) -> None:
        """One purge."""
        self.stdout.write(f"{images.purge()} images purged")
