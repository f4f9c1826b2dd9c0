"""Keys as the pages show them."""

from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from billing import key_spending, keys, money
from billing.models import ApiKey

# The most revoked keys that the page shows, the newest first.
MAX_REVOKED = 50


class Row(NamedTuple):
    """A key, with what its columns do not tell."""

    key: ApiKey
    state: str
    spent: str
    limit: str
    former_until: datetime | None


def list_rows(*, account_id: int, is_revoked: bool) -> list[Row]:
    """Return the account's keys that are not revoked, or the newest that are."""
    found = ApiKey.objects.filter(account_id=account_id, revoked_at__isnull=not is_revoked)
    if is_revoked:
        return [describe(key) for key in found.order_by("-revoked_at")[:MAX_REVOKED]]
    return [describe(key) for key in found.order_by("-pk")]


def describe(key: ApiKey) -> Row:
    """Return the key as the pages show it."""
    now = timezone.now()
    limit = key.spend_limit_micros
    return Row(
        key=key,
        state=keys.state_of(key, now=now),
        spent=money.format_usd(key_spending.counted_micros(key, now=now)),
        limit="" if limit is None else money.format_usd(limit),
        former_until=key.former_until if key.former_until and key.former_until > now else None,
    )
