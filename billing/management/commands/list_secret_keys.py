"""The command `list_secret_keys`, which says which former secret keys are still needed."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing import keys


class Command(BaseCommand):
    """The number of live API keys under each secret key. The next use of a key brings it under the first one."""

    help = "Count the live API keys under each secret key. Exit status 1 while a former one is needed."

    def handle(self, **_options: Any) -> None:
        """Print one line for each secret key, and one for API keys that were not used since an older release."""
        current, *former = keys.count_by_secret_key()
        self.stdout.write(f"SECRET_KEY: {current} live API keys")
        *fallbacks, unknown = former
        for number, count in enumerate(fallbacks, 1):
            self.stdout.write(f"SECRET_KEY_FALLBACKS, number {number}: {count} live API keys")
        if unknown:
            self.stdout.write(f"not known until their next use: {unknown} live API keys")
        if any(former):
            sys.exit(1)
