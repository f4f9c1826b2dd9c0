"""`python manage.py purge`: what the periodic tasks do, now."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from storage import images, orphans


class Command(BaseCommand):
    """Purges what has expired, removes orphans, and prints how many; may be run at any time, by any number."""

    help = "Destroy the keys of expired images and delete their bytes, and the objects that no image needs."

    def add_arguments(self, parser: CommandParser) -> None:
        """How old an object without an image must be."""
        parser.add_argument(
            "--orphans-older-than",
            type=_seconds,
            default=orphans.OLDER_THAN_SECONDS,
            metavar="SECONDS",
            help="leave younger objects, which their image may yet be recorded for (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """One purge, one pass over the store."""
        self.stdout.write(f"{images.purge()} images purged")
        removed_count = orphans.remove(now=timezone.now(), older_than_seconds=options["orphans_older_than"])
        self.stdout.write(f"{removed_count} orphans removed")


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError("must be a whole number of seconds")
    return int(text)
