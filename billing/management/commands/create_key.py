"""The command `create_key ACCOUNT [--name …] [--scopes …]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, keys
from billing.grants import Grants
from billing.management import key_options
from billing.models import Account


class Command(BaseCommand):
    """The issue of an API key. Standard output has only the key, so that a script can read it."""

    help = "Issue an API key for an account and print it. The key is printed only once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account, the name of the key and what it grants."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("--name", default="", help="the key's name, such as its purpose")
        key_options.add_to(parser)

    def handle(self, *, account: str, name: str, **options: Any) -> None:
        """Issue the key and print it, or print one line with the error."""
        try:
            owner = accounts.find(text=account)
            key, text = keys.issue(account_id=owner.pk, name=name, grants=Grants(**key_options.read(options)))
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        self.stderr.write(
            f"key {key.pk} ({key}) of account {owner.pk} {owner.name!r}: {key_options.describe(key)}. "
            "It is printed only once:",
            self.style.SUCCESS,
        )
        self.stdout.write(text)
