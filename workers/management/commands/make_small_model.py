"""Makes a small model in a folder that the models file names, for machines without weights or GPU."""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workers.catalogue import DEFAULT_MODEL, CatalogueError, ImageModel, catalogue


class Command(BaseCommand):
    """Writes the folder of a model's weights, if it is missing; other folders are never touched."""

    help = "Makes the small model in the folder that the models file names, if it is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """--force makes a small model again that this command has made."""
        parser.add_argument("--model", default=DEFAULT_MODEL, help="whose weights they are to be")
        parser.add_argument("--family", help="what they are to be, where the model's adapter is not its name")
        parser.add_argument("--force", action="store_true", help="make it again if this command has made it")

    def handle(self, *_args: Any, model: str, family: str | None, force: bool, **_options: Any) -> None:
        """Says what was done in one line."""
        # Imported here: torch takes seconds, and `manage.py help` loads every command.
        from workers.pipelines.tiny import build  # noqa: PLC0415

        entry = _entry(model)
        folder, family = _folder(entry), family or entry.adapter
        if family not in build.ADAPTERS:
            raise CommandError(f"there is no small {family!r}; known are: {', '.join(build.ADAPTERS)}")
        if force and folder.exists():
            if not build.is_small(folder):
                raise CommandError(f"{folder} was not made by this command; nothing is removed")
            shutil.rmtree(folder)
        try:
            made = build.make(folder, adapter=family)
        except OSError as problem:
            raise CommandError(f"the small model cannot be written to {folder}: {problem}") from None
        self.stdout.write(f"The small model {'has been made at' if made else 'is there already:'} {folder}")


def _entry(name: str) -> ImageModel:
    try:
        models = catalogue()
    except CatalogueError as problem:
        raise CommandError(str(problem)) from None
    if name not in models:
        raise CommandError(f"there is no model {name!r}; the models file has: {', '.join(models)}")
    return models[name]


def _folder(model: ImageModel) -> Path:
    weights = Path(model.weights)
    if not weights.is_absolute():
        raise CommandError(f"{model.name} names the hub id {weights}, no folder: there is nothing to make")
    return weights
