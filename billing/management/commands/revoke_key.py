"""The command `revoke_key KEY`. KEY is an id, a full text, or the first twelve characters."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import keys
from billing.models import ApiKey


class Command(BaseCommand):
    """The revocation of an API key from its next use on."""

    help = "Revoke an API key."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the key."""
        parser.add_argument(
            "key", help="its id, its full text, or its first twelve characters (zk_live_XXXX)"
        )

    def handle(self, *, key: str, **_options: Any) -> None:
        """Revoke the key, or print one line with the error."""
        try:
            found = keys.find(text=key)
            keys.revoke(key_id=found.pk)
        except ApiKey.MultipleObjectsReturned as error:
            raise CommandError("Several keys begin with these characters. Give the id of one key.") from error
        except ApiKey.DoesNotExist as error:
            raise CommandError("This key does not exist.") from error
        except keys.AlreadyRevoked as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"key {found.pk} ({found}) of account {found.account_id} {found.account.name!r}: revoked"
        )
