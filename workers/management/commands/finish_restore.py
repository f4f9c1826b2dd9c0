"""Command `finish_restore`: it makes a restored database safe to serve, before the service runs on it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from storage import images, lost_objects
from workers.lifecycle import restoration


class Command(BaseCommand):
    """Command for a database that was restored from a backup. May be run twice."""

    help = (
        "Skip the ids that were given since the backup, destroy the keys of images that have expired since, and find"
        " images that were deleted since."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the number of ids and the confirmation."""
        parser.add_argument(
            "--skip-ids",
            type=int,
            default=1_000_000,
            metavar="COUNT",
            help="leave out this many ids of each table (default: %(default)s)",
        )
        parser.add_argument(
            "--delete-lost",
            action="store_true",
            help="delete the images whose objects the store does not have, which cannot be undone",
        )

    def handle(self, *, skip_ids: int, delete_lost: bool, **_options: Any) -> None:
        """Take each step, and print what it did."""
        try:
            restoration.skip_ids(count=skip_ids)
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{skip_ids} ids of each table are left out.")
        self.stdout.write(f"{images.purge()} expired images purged.")
        lost = restoration.find_lost_images()
        self.stdout.write(
            f"{len(lost)} of {lost_objects.count_live()} live images have no object in the store."
        )
        if delete_lost:
            restoration.delete_images(generation_ids=lost)
            self.stdout.write(f"{len(lost)} lost images deleted.")
        elif lost:
            self.stdout.write("If STORAGE_URL is right, run this again with --delete-lost.")
