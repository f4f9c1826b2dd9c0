"""The command `list_secret_keys`, which says which former secret keys are still needed."""

import sys
from typing import Any

from django.core.management.base import BaseCommand

from billing import codes, keys


class Command(BaseCommand):
    """The number of live API keys and codes under each secret key.

    The next use of an API key brings it under the first one. A redemption code stays where it is until its end.
    """

    help = (
        "Count the live API keys and redemption codes under each secret key. "
        "Exit status 1 while a former one is needed."
    )

    def handle(self, **_options: Any) -> None:
        """Print one line for each secret key, and one for API keys that were not used since an older release."""
        current, *former = zip(keys.count_by_secret_key(), codes.count_by_secret_key(), strict=True)
        *fallbacks, unknown = former
        self.stdout.write(f"SECRET_KEY: {_describe(*current)}")
        for number, counts in enumerate(fallbacks, 1):
            self.stdout.write(f"SECRET_KEY_FALLBACKS, number {number}: {_describe(*counts)}")
        lost_keys, lost_codes = unknown
        if lost_keys:
            self.stdout.write(f"not known until their next use: {lost_keys} live API keys")
        if lost_codes:
            self.stdout.write(
                f"under no secret key, so nobody can redeem them: {lost_codes} redemption codes"
            )
        if lost_keys or any(map(any, fallbacks)):
            sys.exit(1)


def _describe(key_count: int, code_count: int) -> str:
    codes_too = f", {code_count} redemption codes" if code_count else ""
    return f"{key_count} live API keys{codes_too}"
