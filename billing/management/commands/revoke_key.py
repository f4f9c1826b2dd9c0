"""`revoke_key KEY`: ends a key, given by its id, its whole text, or its first twelve characters."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import keys
from billing.models import ApiKey


class Command(BaseCommand):
    """Revokes an API key from its next use on."""

    help = "Revokes an API key."

    def add_arguments(self, parser: CommandParser) -> None:
        """Which key."""
        parser.add_argument(
            "key", help="its id, its whole text, or its first twelve characters (zk_live_XXXX)"
        )

    def handle(self, *, key: str, **_options: Any) -> None:
        """Revokes it, or says in one line why not."""
        try:
            found = keys.find(text=key)
            keys.revoke(key_id=found.pk)
        except ApiKey.MultipleObjectsReturned as error:
            raise CommandError("Several keys begin like this: give the id of one.") from error
        except ApiKey.DoesNotExist as error:
            raise CommandError("There is no such key.") from error
        except keys.AlreadyRevoked as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"key {found.pk} ({found}) of account {found.account_id} {found.account.name!r}: revoked"
        )
