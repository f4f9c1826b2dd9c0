"""The command `python manage.py rotate_master_key`, which may run while the service runs."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from storage import rotation


class Command(BaseCommand):
    """The rotation of the master key, with its counts.

    The exit status is 1 if no master key opens some row.
    """

    help = "Rewrap the key of every live image and every secret by the first of MASTER_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Run one rotation, and print its counts and the master keys that are no longer needed."""
        first, *others = settings.MASTER_KEYS
        rotated = rotation.rotate()
        self.stdout.write(
            f"{rotated.live_count} live keys, {rotated.rewrapped_count} of them rewrapped by {first}"
        )
        in_use = rotation.live_counts()
        for key_id in others:
            state = f"still wraps {in_use[key_id]} keys" if key_id in in_use else "is no longer needed"
            self.stdout.write(f"{key_id} {state}")
        for name in rotated.unopened:
            self.stderr.write(f"{name}: no master key opens it")
        if rotated.unopened:
            raise SystemExit(1)
