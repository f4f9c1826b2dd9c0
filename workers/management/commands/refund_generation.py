"""The command `refund_generation ID --reason …`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import ledger
from billing.management.actor import actor_of
from billing.money import format_usd
from workers.lifecycle import generation_refund
from workers.models import Generation


class Command(BaseCommand):
    """The refund of one completed generation to its account. A second run is refused."""

    help = "Credit the cost of a completed generation to its account."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the generation's id and the reason."""
        parser.add_argument("generation_id", metavar="ID", type=int, help="the generation's id")
        parser.add_argument("--reason", required=True, help="the reason, which the ledger keeps")

    def handle(self, *, generation_id: int, reason: str, **_options: Any) -> None:
        """Refund the generation, or print one line with the error."""
        try:
            entry = generation_refund.refund(
                generation_id=generation_id, actor=actor_of("refund_generation"), reason=reason
            )
        except Generation.DoesNotExist:
            raise CommandError(f"There is no generation {generation_id}.") from None
        except (ValueError, generation_refund.NothingToRefund, ledger.MovedBefore) as error:
            raise CommandError(str(error)) from error
        amount, balance = format_usd(entry.amount_micros), format_usd(entry.account.balance_micros)
        self.stdout.write(
            f"Refunded {amount} USD to account {entry.account_id} {entry.account.name!r}: balance {balance}"
        )
