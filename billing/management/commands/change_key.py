"""The command `change_key KEY [--name …] [--scopes …]`. What is left out stays as it is."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import key_changes, keys
from billing.management import key_lookup, key_options


class Command(BaseCommand):
    """The change of what an API key grants."""

    help = "Change what an API key grants. A change of the period of --spend begins a new count at zero."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the key, its name and what it grants."""
        key_lookup.add_to(parser)
        parser.add_argument("--name", default=None, help="the key's name, such as its purpose")
        key_options.add_to(parser)

    def handle(self, *, key: str, name: str | None, **options: Any) -> None:
        """Change the key and print what it grants, or print one line with the error."""
        found, changes = key_lookup.find(key), key_options.read(options)
        if name is None and not changes:
            raise CommandError("Name a change, such as --spend 25.00/month.")
        try:
            changed = key_changes.change(key_id=found.pk, name=name, grants=changes)
        except (ValueError, keys.AlreadyRevoked) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{key_lookup.name(changed)}: {key_options.describe(changed)}")
