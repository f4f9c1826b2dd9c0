"""The command `top_up ACCOUNT AMOUNT --reason …`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, ledger, money
from billing.management.actor import actor_of
from billing.models import Account


class Command(BaseCommand):
    """The credit of received money to an account. A second run credits it again."""

    help = "Add money to an account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account, the amount in US dollars, and the reason."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("amount", help="US dollars, such as 25.00")
        parser.add_argument("--reason", required=True, help="the reason, which the ledger keeps")

    def handle(self, *, account: str, amount: str, reason: str, **_options: Any) -> None:
        """Credit the amount and print the new balance, or print one line with the error."""
        try:
            entry = ledger.top_up(
                account_id=accounts.find(text=account).pk,
                amount_micros=money.parse_usd(amount),
                actor=actor_of("top_up"),
                reason=reason,
            )
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        # The balance after the payment of a debt, too.
        balance, debt = entry.account.balance_micros, entry.account.debt_micros
        left = f", debt {money.format_usd(debt)}" if debt else ""
        self.stdout.write(
            f"account {entry.account_id} {entry.account.name!r}: balance {money.format_usd(balance)}{left}"
        )
