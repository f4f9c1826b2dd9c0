"""The command `lift_lockouts`."""

from typing import Any

from django.core.cache import cache
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """The end of every lockout, for people who must not wait for theirs."""

    help = "Let everybody try to sign in again, who failed too often."

    def handle(self, **_options: Any) -> None:
        """Forget every failure. The limits of logins in a minute stay."""
        cache.clear()
        self.stdout.write("All lockouts are lifted.")
