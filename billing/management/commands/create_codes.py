"""The command `create_codes AMOUNT --reason … [--count 1] [--days 365]`."""

from datetime import timedelta
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from billing import codes, money
from billing.management.actor import actor_of

_DEFAULT_DAYS: Final = 365


class Command(BaseCommand):
    """The creation of redemption codes. Standard output has only the codes, so that a script can read them."""

    help = "Make redemption codes and print them. A code is printed only once."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the amount of each code, their number, their reason, and the days in which they can be redeemed."""
        parser.add_argument("amount", help="US dollars that each code credits, such as 25.00")
        parser.add_argument("--reason", required=True, help="the reason, which the codes keep")
        parser.add_argument("--count", type=int, default=1, help="the number of codes (default: 1)")
        parser.add_argument(
            "--days",
            type=int,
            default=_DEFAULT_DAYS,
            help=f"the days in which they can be redeemed (default: {_DEFAULT_DAYS})",
        )

    def handle(self, *, amount: str, reason: str, count: int, days: int, **_options: Any) -> None:
        """Make the codes and print each on a line, or print one line with the error."""
        try:
            made = codes.create(
                amount_micros=money.parse_usd(amount),
                count=count,
                expires_at=timezone.now() + timedelta(days=days),
                actor=actor_of("create_codes"),
                reason=reason,
            )
        except (ValueError, OverflowError) as error:
            raise CommandError(str(error)) from error
        first, last = made[0][0], made[-1][0]
        self.stderr.write(
            f"{count} codes, ids {first.pk} to {last.pk}, valid until {first.expires_at:%Y-%m-%d %H:%M} UTC."
            " They are printed only once:",
            self.style.SUCCESS,
        )
        for _, text in made:
            self.stdout.write(text)
