"""The command `set_limits ACCOUNT [--requests …] [--open …] [--queued …]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, limits
from billing.models import Account


class Command(BaseCommand):
    """The change of an account's own limits. What is left out becomes the published limit again."""

    help = "Give an account limits of its own. A limit that is left out becomes the published one again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account and its limits."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("--requests", type=int, metavar="N", help="requests in any 60 seconds")
        parser.add_argument("--open", type=int, metavar="N", help="open generations that clients wait for")
        parser.add_argument("--queued", type=int, metavar="N", help="open asynchronous generations")

    def handle(
        self, *, account: str, requests: int | None, open: int | None, queued: int | None, **_options: Any
    ) -> None:
        """Change the limits and print those that hold, or print one line with the error."""
        try:
            owner = accounts.find(text=account)
            limits.set_limits(
                account_id=owner.pk, requests_per_minute=requests, open_limit=open, queue_limit=queued
            )
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        owner.refresh_from_db()
        hold = limits.limits_of(owner)
        self.stdout.write(
            f"account {owner.pk} {owner.name!r}: {hold.requests_per_minute} requests a minute,"
            f" {hold.open_generations} open generations, {hold.open_asynchronous} asynchronous ones"
        )
