"""The command `revoke_key KEY`. KEY is an id, a full text, or the first twelve characters."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import keys
from billing.management import key_lookup


class Command(BaseCommand):
    """The revocation of an API key from its next use on."""

    help = "Revoke an API key."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the key."""
        key_lookup.add_to(parser)

    def handle(self, *, key: str, **_options: Any) -> None:
        """Revoke the key, or print one line with the error."""
        found = key_lookup.find(key)
        try:
            keys.revoke(key_id=found.pk)
        except keys.AlreadyRevoked as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{key_lookup.name(found)}: revoked")
