"""`create_key ACCOUNT [--name …]`: prints a new key, once, alone on its line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, keys
from billing.models import Account


class Command(BaseCommand):
    """Issues an API key; standard output has the key alone, so that a script can take it."""

    help = "Issues an API key for an account and prints it, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose key, and what people call it."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("--name", default="", help="what the key is for")

    def handle(self, *, account: str, name: str, **_options: Any) -> None:
        """Issues it, or says in one line why not."""
        try:
            owner = accounts.find(text=account)
            key, text = keys.issue(account_id=owner.pk, name=name)
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        self.stderr.write(
            f"key {key.pk} ({key}) of account {owner.pk} {owner.name!r}; it is shown only now:",
            self.style.SUCCESS,
        )
        self.stdout.write(text)
