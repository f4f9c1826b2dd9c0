"""`top_up ACCOUNT AMOUNT --reason …`: adds money that came in."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts, ledger, money
from billing.models import Account


class Command(BaseCommand):
    """Credits an account; run twice, it credits twice."""

    help = "Adds money to an account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Whose balance, how much in US dollars, and why."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("amount", help="US dollars, such as 25.00")
        parser.add_argument("--reason", required=True, help="why; kept in the ledger")

    def handle(self, *, account: str, amount: str, reason: str, **_options: Any) -> None:
        """Adds it, or says in one line why not."""
        try:
            entry = ledger.top_up(
                account_id=accounts.find(text=account).pk,
                amount_micros=money.parse_usd(amount),
                actor="manage.py top_up",
                reason=reason,
            )
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        balance = money.format_usd(entry.balance_after_micros)
        self.stdout.write(f"account {entry.account_id} {entry.account.name!r}: balance {balance}")
