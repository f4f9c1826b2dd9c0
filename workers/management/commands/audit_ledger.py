"""`audit_ledger`: says whether everything adds up; exit status 1 and the rows if it does not."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from storage import orphans
from workers.audit import images, rows


class Command(BaseCommand):
    """Reads every account, reservation, entry, generation and image; changes nothing. May run beside live traffic."""

    help = "Checks that every account, reservation, ledger entry, generation and image adds up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What is checked besides."""
        parser.add_argument(
            "--objects",
            action="store_true",
            help="open every image too, and look for objects that belong to none: this reads the whole object store",
        )
        parser.add_argument(
            "--at-rest",
            action="store_true",
            help="nothing may be open or reserved: for when all work has ended",
        )

    def handle(self, *, objects: bool, at_rest: bool, **_options: Any) -> None:
        """Prints each problem as it is found."""
        problem_count = 0
        for problem in _problems(objects=objects, at_rest=at_rest):
            self.stdout.write(problem)
            problem_count += 1
        if problem_count:
            raise CommandError(f"{problem_count} things do not add up.")
        self.stdout.write("The ledger adds up.")


def _problems(*, objects: bool, at_rest: bool) -> Iterator[str]:
    yield from rows.problems()
    if at_rest:
        yield from rows.open_work()
    if objects:
        yield from images.audit()
        seconds = int(rows.OBJECT_GRACE.total_seconds())
        for name in orphans.find(now=timezone.now(), older_than_seconds=seconds):
            yield f"object {name}: belongs to no image"
