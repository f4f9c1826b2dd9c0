"""The command `refund_top_up ORDER AMOUNT --reason …`."""

from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing import card_refunds, ledger, money, stripe_api
from billing.card_models import TopUpOrder
from billing.management.actor import actor_of


class Command(BaseCommand):
    """The refund of a payment to its card. The account pays it first, so reserved and spent money is not refunded."""

    help = "Refund a top-up by card, in whole or in part."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the order, the amount in US dollars, and the reason."""
        parser.add_argument("order", type=UUID, help="the id of the top-up")
        parser.add_argument("amount", help="US dollars, such as 25.00")
        parser.add_argument("--reason", required=True, help="the reason, which the ledger keeps")

    def handle(self, *, order: UUID, amount: str, reason: str, **_options: Any) -> None:
        """Refund the amount and print the new balance, or print one line with the error."""
        if not stripe_api.is_on():
            raise CommandError("Card payments are off. Set STRIPE_SECRET_KEY and STRIPE_WEBHOOK_SECRET.")
        try:
            made = card_refunds.refund(
                order_id=order,
                amount_micros=money.parse_usd(amount),
                actor=actor_of("refund_top_up"),
                reason=reason,
            )
        except TopUpOrder.DoesNotExist:
            raise CommandError("This top-up does not exist.") from None
        except (ValueError, card_refunds.NotRefundable, ledger.InsufficientBalance) as error:
            raise CommandError(str(error)) from error
        except stripe_api.StripeRefused as error:
            raise CommandError(f"{error} The account has its money back.") from error
        except stripe_api.StripeUnavailable as error:
            raise CommandError(f"{error} The refund is pending, and `chores` sends it again.") from error
        account = TopUpOrder.objects.select_related("account").get(pk=order).account
        balance = money.format_usd(account.balance_micros)
        self.stdout.write(f"{made} of {amount} USD: account {account.pk} {account.name!r}: balance {balance}")
