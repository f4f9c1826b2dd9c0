"""Command `sweep`: it runs one sweep by hand."""

from typing import Any

from django.core.management.base import BaseCommand

from workers.lifecycle import recovery


class Command(BaseCommand):
    """Command that recovers abandoned generations once, as the periodic task does."""

    help = "Give up overdue generations, requeue those of dead workers, and send lost hints again."

    def handle(self, *_args: Any, **_options: Any) -> None:
        """Sweep once, and print the numbers of generations."""
        swept = recovery.sweep()
        self.stdout.write(
            f"{swept.given_up} given up, {swept.rescued} rescued, {swept.hinted} hints sent again"
        )
