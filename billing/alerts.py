"""Alerts of money: a low balance, and keys near their limits of spending. Each is told once until it is over.

This module decides what is to be told, and remembers that it was. Others tell it, in the same transaction.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection
from django.utils import timezone

from billing import key_spending, ledger, money
from billing.alert_models import AlertSettings
from billing.models import Account, ApiKey

DEFAULT_PERCENTS: Final = (50, 80, 100)
MAX_PERCENTS: Final = 10
# The most that one round tells, so that its transaction stays short.
BATCH: Final = 100

# A balance that has come back is told again when it is low again.
_REARM: Final = """
UPDATE billing_alertsettings s SET low_balance_told_at = NULL FROM billing_account a
WHERE a.id = s.account_id AND s.low_balance_told_at IS NOT NULL
    AND coalesce(a.balance_micros >= s.low_balance_micros, true)
"""
_LOW_BALANCES: Final = """
UPDATE billing_alertsettings s SET low_balance_told_at = statement_timestamp() FROM (
    SELECT s.account_id, balance_micros FROM billing_alertsettings s JOIN billing_account a ON a.id = s.account_id
    WHERE s.low_balance_told_at IS NULL AND balance_micros < s.low_balance_micros
    ORDER BY s.account_id LIMIT %(batch)s FOR UPDATE OF s SKIP LOCKED
) low WHERE s.account_id = low.account_id
RETURNING s.account_id, s.email, s.low_balance_micros, low.balance_micros
"""
# The last percent counts as reached once the key cannot pay the lowest price of an image any more.
_KEYS: Final = """
UPDATE billing_apikey key SET told_percent = reached.percent, told_since = reached.counted_since FROM (
    SELECT key.id, s.email, key.counted_since, max(percent) AS percent
    FROM billing_apikey key JOIN billing_alertsettings s USING (account_id), unnest(s.key_percents) AS percent
    WHERE key.spend_limit_micros IS NOT NULL AND key.revoked_at IS NULL AND key.counted_since IS NOT NULL
        AND (100 * (key.held_micros + key.spent_micros) >= percent * key.spend_limit_micros
            OR percent = 100
                AND key.held_micros + key.spent_micros + %(lowest_micros)s > key.spend_limit_micros)
        AND percent > CASE WHEN key.told_since = key.counted_since THEN key.told_percent ELSE 0 END
    GROUP BY key.id, s.email, key.counted_since ORDER BY key.id LIMIT %(batch)s
) reached WHERE key.id = reached.id
RETURNING key.account_id, reached.email, key.id, reached.percent
"""


@dataclass(frozen=True, kw_only=True)
class LowBalance:
    """A balance that is below the amount that its account named."""

    account_id: int
    email: str
    threshold_micros: int
    balance_micros: int


@dataclass(frozen=True, kw_only=True)
class KeySpending:
    """A key that has spent and reserved at least this percentage of its limit."""

    account_id: int
    email: str
    key_id: int
    percent: int


def settings_of(*, account_id: int) -> AlertSettings:
    """Return the account's settings, or unsaved ones under which nothing is told."""
    own = AlertSettings.objects.filter(account_id=account_id).first()
    return own or AlertSettings(account_id=account_id, key_percents=[])


def put(
    *, account_id: int, low_balance_micros: int | None, percents: Sequence[int], email: str
) -> AlertSettings:
    """Replace the account's settings. Another amount is told again. Raises ValueError."""
    if low_balance_micros is not None:
        money.check_amount(low_balance_micros)
    if len(percents) > MAX_PERCENTS or not all(1 <= percent <= 100 for percent in percents):
        raise ValueError(f"The percentages must be at most {MAX_PERCENTS} whole numbers from 1 to 100.")
    kept = AlertSettings.objects.filter(account_id=account_id, low_balance_micros=low_balance_micros).first()
    own, _ = AlertSettings.objects.update_or_create(
        account_id=account_id,
        defaults={
            "low_balance_micros": low_balance_micros,
            "key_percents": sorted(set(percents)),
            "email": email,
            "low_balance_told_at": None if kept is None else kept.low_balance_told_at,
        },
    )
    return own


def take_low_balances() -> list[LowBalance]:
    """Mark balances that are low and untold as told, and return them, in the caller's transaction."""
    ledger.require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(_REARM)
        cursor.execute(_LOW_BALANCES, {"batch": BATCH})
        return [
            LowBalance(account_id=account_id, email=email, threshold_micros=threshold, balance_micros=balance)
            for account_id, email, threshold, balance in cursor.fetchall()
        ]


def take_key_spending(*, lowest_micros: int) -> list[KeySpending]:
    """Mark keys that have newly reached a percentage as told, and return them, in the caller's transaction.

    `lowest_micros` is the lowest price of an image.
    """
    ledger.require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(_KEYS, {"batch": BATCH, "lowest_micros": lowest_micros})
        return [
            KeySpending(account_id=account_id, email=email, key_id=key_id, percent=percent)
            for account_id, email, key_id, percent in cursor.fetchall()
        ]


def list_current(account: Account) -> Iterator[dict[str, object]]:
    """Yield what holds for the account at this moment, by its settings, in the form of the API's replies."""
    own = AlertSettings.objects.filter(account_id=account.pk).first()
    if own is None:
        return
    if own.low_balance_micros is not None and account.balance_micros < own.low_balance_micros:
        yield {"type": "low_balance", "threshold": money.format_usd(own.low_balance_micros)}
    now = timezone.now()
    limited = ApiKey.objects.filter(
        account_id=account.pk, spend_limit_micros__isnull=False, revoked_at__isnull=True
    )
    for key in limited.order_by("id"):
        if percent := _reached(key, own.key_percents, now):
            yield {"type": "key_spend_limit", "key_id": key.pk, "percent": percent}


def _reached(key: ApiKey, percents: Sequence[int], now: datetime) -> int:
    assert key.spend_limit_micros is not None
    counted = key_spending.counted_micros(key, now=now)
    # What was told in this period stays told.
    told = key.told_percent if counted and key.told_since == key.counted_since else 0
    reached = [each for each in percents if 100 * counted >= each * key.spend_limit_micros]
    return max([told, *reached], default=0)
