"""`python manage.py rotate_master_key`: wraps every live key by the first master key, while everything runs."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from storage import rotation


class Command(BaseCommand):
    """Prints what it wrapped and which master keys are no longer needed; exit 1 if an image opens under none."""

    help = "Wrap every live image's key by the first of MASTER_KEYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """One rotation."""
        first, *others = settings.MASTER_KEYS
        rotated = rotation.rotate()
        self.stdout.write(
            f"{rotated.live_count} live keys, {rotated.rewrapped_count} of them wrapped anew by {first}"
        )
        in_use = rotation.live_counts()
        for key_id in others:
            state = f"still wraps {in_use[key_id]} keys" if key_id in in_use else "is no longer needed"
            self.stdout.write(f"{key_id} {state}")
        for image_id in rotated.unopened_ids:
            self.stderr.write(f"image {image_id}: no master key opens it")
        if rotated.unopened_ids:
            raise SystemExit(1)
