"""The spending of a key: the counters in its row, which every hold of the key moves with the account's.

A hold counts in the period in which it is made, and so do its settlement and its release. The counters are those of one
period, or of its rest, from `counted_since` on. The first hold of a later period sets them to zero.
"""

from datetime import UTC, datetime
from typing import Final

from django.db.models.functions import Now

from billing import money
from billing.models import ApiKey

# The start of the key's present period. A total has one period, which began before any hold.
_PERIOD_START: Final = """
CASE key.spend_period WHEN 'day' THEN date_trunc('day', statement_timestamp(), 'UTC')
    WHEN 'month' THEN date_trunc('month', statement_timestamp(), 'UTC') ELSE 'epoch'::timestamptz END"""
# A statement may be older than the hold for which it waited, which has begun a new period. It counts in that one.
_IS_COUNTED: Final = f"key.counted_since >= ({_PERIOD_START})"
_COUNTED_MICROS: Final = f"CASE WHEN {_IS_COUNTED} THEN key.held_micros + key.spent_micros ELSE 0 END"

# The conditions on the row `key` of a hold. PostgreSQL checks them on the row as it is once it is locked.
MAY_HOLD: Final = f"""
coalesce(%(count)s + key.open_hold_count <= key.open_limit, true)
AND coalesce(%(count)s * %(quote_micros)s + {_COUNTED_MICROS} <= key.spend_limit_micros, true)"""
# The CTE `key`, which needs the CTE `account` of a hold, so that the account's row is locked first.
HOLD: Final = f"""
key AS (
    UPDATE billing_apikey key SET open_hold_count = key.open_hold_count + %(count)s,
        held_micros = CASE WHEN {_IS_COUNTED} THEN key.held_micros ELSE 0 END + %(count)s * %(quote_micros)s,
        spent_micros = CASE WHEN {_IS_COUNTED} THEN key.spent_micros ELSE 0 END,
        counted_since = greatest(key.counted_since, {_PERIOD_START}), spend_ceiling_micros = key.spend_limit_micros
    FROM account WHERE key.id = %(api_key_id)s
    RETURNING key.id, key.counted_since
)"""  # noqa: S608 (own texts)
_RESOLVE: Final = """
key AS (
    UPDATE billing_apikey key SET open_hold_count = key.open_hold_count - 1,
        held_micros = key.held_micros - CASE WHEN r.created_at >= key.counted_since THEN quote_micros ELSE 0 END,
        spent_micros = key.spent_micros + CASE WHEN r.created_at >= key.counted_since THEN {spent} ELSE 0 END
    FROM reservation r JOIN account a ON a.id = r.account_id WHERE key.id = r.api_key_id
)"""
_IN_PERIOD: Final = {"day": "today", "month": "this month", "total": "in total"}


class KeySpendLimit(Exception):
    """The key may not hold as much more in its period."""


class KeyTooManyHolds(Exception):
    """The key already has the maximum number of open holds, which is `limit`."""

    def __init__(self, message: str, *, limit: int) -> None:
        super().__init__(message)
        self.limit = limit


def resolve(*, spent: str) -> str:
    """Return the CTE `key`, which needs the CTEs `reservation` and `account` of a resolution.

    `spent` is the SQL of the amount that is charged.
    """
    return _RESOLVE.format(spent=spent)


def counted_micros(key: ApiKey, *, now: datetime) -> int:
    """Return what the key, as it was read, holds and has spent in the period of the moment `now`."""
    if key.counted_since is None or key.counted_since < _period_start(key.spend_period, now.astimezone(UTC)):
        return 0
    return key.held_micros + key.spent_micros


def _period_start(period: str, now: datetime) -> datetime:
    day = now.replace(hour=0, minute=0, second=0, microsecond=0)
    starts = {"day": day, "month": day.replace(day=1), "total": datetime.fromtimestamp(0, UTC)}
    return starts[period]


def require_allowed(*, key_id: int, count: int, micros: int) -> None:
    """Raise KeyTooManyHolds or KeySpendLimit if the key, as it is now, may not hold the amount in `count` holds."""
    # The database's clock decides the period, as in the statement of a hold.
    key = ApiKey.objects.annotate(now=Now()).get(pk=key_id)
    if key.open_limit is not None and key.open_hold_count + count > key.open_limit:
        message = f"Key {key_id} already has {key.open_hold_count} open holds."
        raise KeyTooManyHolds(message, limit=key.open_limit)
    limit_micros = key.spend_limit_micros
    if limit_micros is not None and counted_micros(key, now=key.now) + micros > limit_micros:
        limit = money.format_usd(limit_micros)
        message = f"This API key may spend {limit} USD {_IN_PERIOD[key.spend_period]}. Nothing was charged."
        raise KeySpendLimit(message)
