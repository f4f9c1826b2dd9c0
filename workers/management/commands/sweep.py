"""`python manage.py sweep`."""

from typing import Any

from django.core.management.base import BaseCommand

from workers.lifecycle import recovery


class Command(BaseCommand):
    """Moves on what is stuck, once, as the periodic task does."""

    help = "Give up what is overdue, take back what dead workers hold, send lost messages again."

    def handle(self, *_args: Any, **_options: Any) -> None:
        swept = recovery.sweep()
        self.stdout.write(
            f"{swept.given_up} given up, {swept.rescued} rescued, {swept.hinted} hinted at again"
        )
