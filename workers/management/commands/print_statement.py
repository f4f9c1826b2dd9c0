"""The command `print_statement ACCOUNT MONTH [--format csv|html]`."""

import re
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import accounts
from billing.models import Account
from workers.usage import monthly_statement
from workers.usage.monthly_statement import BeforeAccount, NotClosed


class Command(BaseCommand):
    """The statement of an account's month, as the account itself gets it from GET /v1/statements/{month}."""

    help = "Print the statement of an account's month."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account, the month and the format."""
        parser.add_argument("account", help="the account's name or id")
        parser.add_argument("month", help="a month that is over, such as 2026-11")
        parser.add_argument("--format", choices=["csv", "html"], default="html", help="default: %(default)s")

    def handle(self, *, account: str, month: str, format: str, **_options: Any) -> None:
        """Print the statement, or one line with the error."""
        if not re.fullmatch(r"2[0-9]{3}-(0[1-9]|1[0-2])", month):
            raise CommandError("month must be a year and a month, such as 2026-11.")
        year, number = map(int, month.split("-"))
        try:
            owner = accounts.find(text=account)
            statement = monthly_statement.make(account=owner, year=year, month=number)
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        except NotClosed:
            raise CommandError("The month is not over, or its usage is not rolled up yet.") from None
        except BeforeAccount:
            raise CommandError("The account was opened after this month.") from None
        if format == "csv":
            # A line of CSV ends with CR LF on every system.
            self.stdout.write(monthly_statement.write_csv(statement).decode(), ending="")
        else:
            self.stdout.write(monthly_statement.write_html(statement), ending="")
