"""The command `create_account NAME [--balance 10.00]`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, ledger, money
from billing.management.actor import actor_of


class Command(BaseCommand):
    """The opening of an account. Its starting balance is the first entry of its ledger."""

    help = "Open an account and print its id and balance."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the name, and the starting balance in US dollars."""
        parser.add_argument("name")
        parser.add_argument(
            "--balance",
            default=accounts.DEFAULT_OPENING_USD,
            metavar="USD",
            help=f"starting balance (default: {accounts.DEFAULT_OPENING_USD})",
        )

    def handle(self, *, name: str, balance: str, **_options: Any) -> None:
        """Open the account and print its id and balance, or print one line with the error."""
        try:
            account = ledger.open_account(
                name=name, opening_micros=money.parse_usd(balance), actor=actor_of("create_account")
            )
        except (ValueError, ledger.NameTaken) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(
            f"account {account.pk} {account.name!r}: balance {money.format_usd(account.balance_micros)}"
        )
