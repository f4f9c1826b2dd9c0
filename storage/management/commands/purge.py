"""The command `python manage.py purge`, which runs the purge and the orphan removal now."""

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from storage import images, orphans


class Command(BaseCommand):
    """The purge of expired images and the removal of orphans, with their counts. Any number may run at once."""

    help = (
        "Destroy the keys of expired images and delete their bytes. Then delete objects that no image needs."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the minimum age of an orphan."""
        parser.add_argument(
            "--orphans-older-than",
            type=_seconds,
            default=orphans.OLDER_THAN_SECONDS,
            metavar="SECONDS",
            help="keep younger objects, whose image may still be recorded (default: %(default)s)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one purge and one pass over the store."""
        self.stdout.write(f"{images.purge()} images purged")
        removed_count = orphans.remove(now=timezone.now(), older_than_seconds=options["orphans_older_than"])
        self.stdout.write(f"{removed_count} orphans removed")


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ArgumentTypeError("must be a whole number of seconds")
    return int(text)
