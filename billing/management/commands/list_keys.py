"""The command `list_keys ACCOUNT`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import accounts, key_spending, keys, money
from billing.management import key_options
from billing.models import Account, ApiKey


class Command(BaseCommand):
    """The API keys of an account, one a line: state, spending in the period, and what each grants."""

    help = "List the API keys of an account, newest first."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the account."""
        parser.add_argument("account", help="the account's name or id")

    def handle(self, *, account: str, **_options: Any) -> None:
        """Print the keys, or print one line with the error."""
        try:
            owner = accounts.find(text=account)
        except (ValueError, Account.DoesNotExist) as error:
            raise CommandError(str(error)) from error
        now = timezone.now()
        for key in ApiKey.objects.filter(account=owner).order_by("-id"):
            spent = money.format_usd(key_spending.counted_micros(key, now=now))
            state = keys.state_of(key, now=now)
            self.stdout.write(
                f"{key.pk} {key} {key.name!r}: {state}, spent {spent}; {key_options.describe(key)}"
            )
