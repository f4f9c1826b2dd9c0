"""Makes the small model that the models file names, for machines without weights or GPU."""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workers.catalogue import DEFAULT_MODEL, CatalogueError, catalogue


class Command(BaseCommand):
    """Writes the folder of the default model's weights, if it is missing; other folders are never touched."""

    help = "Makes the small model in the folder that the models file names, if it is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--force makes a small model again that this command has made."""
        parser.add_argument("--force", action="store_true", help="make it again if this command has made it")

    def handle(self, *_args: Any, force: bool, **_options: Any) -> None:
        """Says what was done in one line."""
        # Imported here: torch takes seconds, and `manage.py help` loads every command.
        from workers.pipelines import small  # noqa: PLC0415

        folder = _folder()
        if force and folder.exists():
            if not small.is_small(folder):
                raise CommandError(f"{folder} was not made by this command; nothing is removed")
            shutil.rmtree(folder)
        try:
            made = small.make(folder)
        except OSError as problem:
            raise CommandError(f"the small model cannot be written to {folder}: {problem}") from None
        self.stdout.write(f"The small model {'has been made at' if made else 'is there already:'} {folder}")


def _folder() -> Path:
    try:
        weights = Path(catalogue()[DEFAULT_MODEL].weights)
    except CatalogueError as problem:
        raise CommandError(str(problem)) from None
    if not weights.is_absolute():
        raise CommandError(f"{DEFAULT_MODEL} names the hub id {weights}, no folder: there is nothing to make")
    return weights
