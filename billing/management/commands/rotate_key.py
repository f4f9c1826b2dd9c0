"""The command `rotate_key KEY [--overlap-hours N]`."""

from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import key_changes, keys
from billing.management import key_lookup


class Command(BaseCommand):
    """The rotation of an API key. Standard output has only the new key, so that a script can read it."""

    help = "Give an API key a new text and print it. The former text stays valid for a while."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the key and the overlap."""
        key_lookup.add_to(parser)
        parser.add_argument(
            "--overlap-hours",
            type=float,
            default=key_changes.DEFAULT_OVERLAP / timedelta(hours=1),
            help="the hours for which the former text stays valid (default %(default)s)",
        )

    def handle(self, *, key: str, overlap_hours: float, **_options: Any) -> None:
        """Rotate the key and print its text, or print one line with the error."""
        found = key_lookup.find(key)
        try:
            changed, text = key_changes.rotate(key_id=found.pk, overlap=timedelta(hours=overlap_hours))
        except (ValueError, OverflowError, keys.AlreadyRevoked) as error:
            raise CommandError(str(error)) from error
        self.stderr.write(f"{key_lookup.name(changed)}. It is printed only once:", self.style.SUCCESS)
        self.stdout.write(text)
