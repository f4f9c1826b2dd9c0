"""Sums of the whole service for its staff, of the roll-up alone. The present hour is not in them.

The index on the hour finds the rows, so the time of a query grows with the range and not with the history.
"""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from storage.postgresql import plain_sql
from workers.usage.histograms import BUCKET_COUNT, quantile

# Staff look at this many accounts of a list.
MAX_ACCOUNTS: Final = 10
_SUM_OF_COUNTS: Final = "ARRAY[{}]".format(
    ", ".join(f"coalesce(sum({{0}}[{bucket + 1}]), 0)::bigint" for bucket in range(BUCKET_COUNT))
)
_TOTALS: Final = f"""
SELECT coalesce(sum(completed), 0)::bigint, coalesce(sum(failed), 0)::bigint, coalesce(sum(cancelled), 0)::bigint,
    coalesce(sum(cost_micros), 0)::bigint, {_SUM_OF_COUNTS.format("wait_counts")},
    {_SUM_OF_COUNTS.format("make_counts")}
FROM workers_usagehour WHERE hour >= %(start)s AND hour < %(end)s
"""  # noqa: S608 (only texts of this module are inserted)
_HOURS: Final = """
SELECT hour, sum(completed)::bigint FROM workers_usagehour WHERE hour >= %(start)s AND hour < %(end)s
GROUP BY hour ORDER BY hour
"""
_ACTIVE: Final = """
WITH active AS (
    SELECT account_id, sum(completed)::bigint AS completed, sum(cost_micros)::bigint AS cost_micros
    FROM workers_usagehour WHERE hour >= %(start)s AND hour < %(end)s GROUP BY account_id
)
SELECT a.id, a.name, active.completed, active.cost_micros, a.balance_micros - a.reserved_micros
FROM active JOIN billing_account a ON a.id = active.account_id
"""
_TOP: Final = f"{_ACTIVE} ORDER BY active.cost_micros DESC, a.id LIMIT %(limit)s"
_LOW: Final = f"""{_ACTIVE} WHERE a.status = 'active' AND a.balance_micros - a.reserved_micros < %(low_micros)s
ORDER BY a.balance_micros - a.reserved_micros, a.id LIMIT %(limit)s"""


class Totals(NamedTuple):
    """The ended generations of a range of time. The times are quantiles in seconds of the completed ones."""

    completed: int
    failed: int
    cancelled: int
    cost_micros: int
    wait_p50: float | None
    wait_p95: float | None
    make_p50: float | None
    make_p95: float | None

    @property
    def success_percent(self) -> float | None:
        """The completed part of those that were not cancelled, or None without any."""
        tried = self.completed + self.failed
        return 100 * self.completed / tried if tried else None


class ActiveAccount(NamedTuple):
    """An account with usage in a range of time, and its available balance of this moment."""

    id: int
    name: str
    completed: int
    cost_micros: int
    available_micros: int


def read_totals(*, start: datetime, end: datetime) -> Totals:
    """Return the sums of the hours from `start` until before `end`."""
    [(*numbers, wait, make)] = plain_sql.execute(_TOTALS, {"start": start, "end": end})
    return Totals(*numbers, *(quantile(counts, part) for counts in (wait, make) for part in (0.5, 0.95)))


def read_hours(*, start: datetime, end: datetime) -> list[tuple[datetime, int]]:
    """Return each full hour from `start` until before `end` with its number of completed images."""
    found = dict(plain_sql.execute(_HOURS, {"start": start, "end": end}))
    count = int((end - start) / timedelta(hours=1))
    return [(hour, found.get(hour, 0)) for hour in (start + timedelta(hours=index) for index in range(count))]


def list_top_accounts(*, start: datetime, end: datetime) -> list[ActiveAccount]:
    """Return the accounts with the highest cost."""
    values = {"start": start, "end": end, "limit": MAX_ACCOUNTS}
    return [ActiveAccount(*row) for row in plain_sql.execute(_TOP, values)]


def list_low_balances(*, start: datetime, end: datetime, low_micros: int) -> list[ActiveAccount]:
    """Return the active accounts with usage whose available balance is below this, the lowest first."""
    values = {"start": start, "end": end, "limit": MAX_ACCOUNTS, "low_micros": low_micros}
    return [ActiveAccount(*row) for row in plain_sql.execute(_LOW, values)]
