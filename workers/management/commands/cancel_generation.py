"""The command `cancel_generation ID --reason …`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from billing.management.actor import actor_of
from workers.lifecycle import operator_cancellation
from workers.models import Generation


class Command(BaseCommand):
    """The cancellation of one open generation. A second run finds nothing to cancel."""

    help = "Cancel a queued or running generation. Nothing is charged."

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the generation's id and the reason."""
        parser.add_argument("generation_id", metavar="ID", type=int, help="the generation's id")
        parser.add_argument("--reason", required=True, help="the reason, which the row keeps for staff")

    def handle(self, *, generation_id: int, reason: str, **_options: Any) -> None:
        """Cancel the generation, or print one line with the error."""
        try:
            generation = operator_cancellation.cancel(
                generation_id=generation_id, operator=actor_of("cancel_generation"), reason=reason
            )
        except Generation.DoesNotExist:
            raise CommandError(f"There is no generation {generation_id}.") from None
        except (ValueError, operator_cancellation.NothingToCancel) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(operator_cancellation.describe(generation))
