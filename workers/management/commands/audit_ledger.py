"""Command `audit_ledger`: it prints each discrepancy, and exits with status 1 if there is one."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from storage import orphans
from workers.audit import images, rows


class Command(BaseCommand):
    """Command that reads every account, reservation, entry, generation and image. It may run beside live traffic."""

    help = "Check that every account, reservation, ledger entry, generation and image adds up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options for further checks."""
        parser.add_argument(
            "--objects",
            action="store_true",
            help="also open every image and find objects without an image, which reads the whole object store",
        )
        parser.add_argument(
            "--at-rest",
            action="store_true",
            help="also report open generations and reserved money, for use after all work has ended",
        )

    def handle(self, *, objects: bool, at_rest: bool, **_options: Any) -> None:
        """Print each discrepancy as soon as it is found."""
        problem_count = 0
        for problem in _find_problems(objects=objects, at_rest=at_rest):
            self.stdout.write(problem)
            problem_count += 1
        if problem_count:
            raise CommandError(f"{problem_count} things do not add up.")
        self.stdout.write("The ledger adds up.")


def _find_problems(*, objects: bool, at_rest: bool) -> Iterator[str]:
    yield from rows.problems()
    if at_rest:
        yield from rows.find_open_work()
    if objects:
        yield from images.find_unreadable()
        seconds = int(rows.OBJECT_GRACE.total_seconds())
        for name in orphans.find(now=timezone.now(), older_than_seconds=seconds):
            yield f"object {name}: belongs to no image"
