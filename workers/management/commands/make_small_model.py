"""Command `make_small_model`: it makes a small model for machines without weights or GPU."""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from workers.catalogue import DEFAULT_MODEL, ImageModel
from workers.management.lookup import find_model


class Command(BaseCommand):
    """Command that writes the folder of a model's weights if it is missing. It never changes another folder."""

    help = "Make the small model in the folder that the models file names, if it is missing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options. `--force` replaces only a small model that this command has made."""
        parser.add_argument("--model", default=DEFAULT_MODEL, help="the model whose weights to make")
        parser.add_argument("--family", help="the adapter to make them for (default: the model's adapter)")
        parser.add_argument("--force", action="store_true", help="make it again if this command has made it")

    def handle(self, *_args: Any, model: str, family: str | None, force: bool, **_options: Any) -> None:
        """Make the model, and print in one line what was done."""
        # The import is here because torch takes seconds to load and `manage.py help` loads every command.
        from workers.pipelines.tiny import build  # noqa: PLC0415

        entry = find_model(model)
        folder, family = _folder(entry), family or entry.adapter
        if family not in build.ADAPTERS:
            raise CommandError(f"Unknown adapter {family!r}. Allowed: {', '.join(build.ADAPTERS)}")
        if force and folder.exists():
            if not build.is_small(folder):
                raise CommandError(f"{folder} was not made by this command, so nothing is removed.")
            shutil.rmtree(folder)
        try:
            made = build.make(folder, adapter=family)
        except OSError as problem:
            raise CommandError(f"The small model cannot be written to {folder}: {problem}") from None
        self.stdout.write(f"The small model {'has been made at' if made else 'is there already:'} {folder}")


def _folder(model: ImageModel) -> Path:
    weights = Path(model.weights)
    if not weights.is_absolute():
        raise CommandError(f"{model.name} names the hub id {weights}, so there is no folder to make.")
    return weights
