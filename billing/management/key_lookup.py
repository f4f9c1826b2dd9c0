"""The argument of commands that names a key."""

from django.core.management.base import CommandError, CommandParser

from billing import keys
from billing.models import ApiKey


def add_to(parser: CommandParser) -> None:
    """Add the key."""
    parser.add_argument("key", help="its id, its full text, or its first twelve characters (zk_live_XXXX)")


def find(text: str) -> ApiKey:
    """Return the key. Raises CommandError."""
    try:
        return keys.find(text=text)
    except ApiKey.MultipleObjectsReturned as error:
        raise CommandError("Several keys begin with these characters. Give the id of one key.") from error
    except ApiKey.DoesNotExist as error:
        raise CommandError("This key does not exist.") from error


def name(key: ApiKey) -> str:
    """Return the key's name for people."""
    return f"key {key.pk} ({key}) of account {key.account_id} {key.account.name!r}"
