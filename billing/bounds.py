"""The bounds of the limits that accounts and keys have of their own."""

from typing import Final

MIN_LIMIT: Final = 1
# Requests are counted one by one in Redis.
MAX_REQUESTS_PER_MINUTE: Final = 100_000
MAX_OPEN: Final = 100_000
