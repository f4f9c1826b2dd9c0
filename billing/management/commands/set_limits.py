"""The command `set_limits ACCOUNT [--requests …] [--open …] [--queued …]`."""

import argparse
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, limits
from billing.models import Account

# The options by the columns that they change.
_OPTIONS: Final = {
    "requests_per_minute": ("--requests", "requests in any 60 seconds"),
    "open_limit": ("--open", "open generations that clients wait for"),
    "queue_limit": ("--queued", "open asynchronous generations"),
}
_PUBLISHED: Final = "published"


class Command(BaseCommand):
    """The change of an account's own limits. What is left out stays as it is."""

    help = f"Give an account limits of its own. The value `{_PUBLISHED}` takes one back."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account and its limits."""
        parser.add_argument("account", help="the account's name or id")
        for column, (option, what) in _OPTIONS.items():
            parser.add_argument(
                option,
                dest=column,
                type=_read,
                default=argparse.SUPPRESS,
                metavar="N",
                help=f"{what}, or `{_PUBLISHED}`",
            )

    def handle(self, *, account: str, **options: Any) -> None:
        """Change the limits and print those that hold, or print one line with the error."""
        own: Any = {column: options[column] for column in _OPTIONS if column in options}
        if not own:
            raise CommandError(f"Name a limit: {', '.join(option for option, _ in _OPTIONS.values())}.")
        try:
            owner = accounts.find(text=account)
            limits.set_limits(account_id=owner.pk, **own)
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        owner.refresh_from_db()
        self.stdout.write(f"account {owner.pk} {owner.name!r}: {limits.limits_of(owner).describe()}")


def _read(text: str) -> int | None:
    return None if text == _PUBLISHED else int(text)
