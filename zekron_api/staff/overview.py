"""The numbers of the overview: money and work by the roll-up of usage, and live figures by bounded reads.

The roll-up is an hour old at most, and each reading says its time.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

import redis
from django.utils import timezone

from billing.money import format_usd
from storage import purge_backlog
from workers.audit import scheduled
from workers.messaging import counters, worker_registry
from workers.usage import overview, roll_up
from workers.usage.overview import Totals

# Accounts that used the service lately, and have less than a few dozen images left.
LOW_BALANCE_MICROS: Final = 1_000_000
_DAY: Final = timedelta(days=1)
# The chart shows two days, one bar an hour, in units of its view box.
_CHART_HOURS: Final = 48
_BAR_WIDTH: Final = 12
_CHART_HEIGHT: Final = 80


class Period(NamedTuple):
    """A range of time by its name, with its sums."""

    name: str
    totals: Totals
    revenue: str


class Bar(NamedTuple):
    """A bar of the chart: its place and size in the view box, and the hour and number that it shows."""

    x: int
    y: int
    height: int
    hour: datetime
    image_count: int


def read_money() -> dict[str, Any]:
    """Return the revenue by period, the accounts that spend most, and those that are nearly empty."""
    end = _end()
    week = {"start": end - 7 * _DAY, "end": end}
    return {
        "until": end,
        "periods": [
            _period("today", end.replace(hour=0), end),
            _period("7 days", end - 7 * _DAY, end),
            _period("30 days", end - 30 * _DAY, end),
        ],
        "top": [_dollars(account._asdict()) for account in overview.list_top_accounts(**week)],
        "low": [
            _dollars(account._asdict())
            for account in overview.list_low_balances(**week, low_micros=LOW_BALANCE_MICROS)
        ],
        "low_limit": format_usd(LOW_BALANCE_MICROS),
    }


def read_work() -> dict[str, Any]:
    """Return the work of the last day by the roll-up, and the queue, workers, failures and chores of this moment."""
    end = _end()
    hours = overview.read_hours(start=end - _CHART_HOURS * timedelta(hours=1), end=end)
    return {
        "until": end,
        "now": timezone.now(),
        "day": overview.read_totals(start=end - _DAY, end=end),
        "bars": _bars(hours),
        "most": max((count for _, count in hours), default=0),
        "queue": counters.read_queue(),
        "failures": sorted(counters.read_ended_by_error().items(), key=lambda item: -item[1]),
        "purge": purge_backlog.read(),
        **_read_redis(),
    }


def _read_redis() -> dict[str, Any]:
    """Return the workers and the last audit. They are unknown while Redis is away."""
    try:
        outcome = scheduled.read_last()
        return {
            "knows_workers": True,
            "alive": len(worker_registry.list_alive()),
            "loading": len(worker_registry.list_loading()),
            "audit": outcome,
            "audited_at": outcome and datetime.fromtimestamp(outcome.ended_at_seconds, UTC),
        }
    except redis.RedisError:
        return {"knows_workers": False}


def _end() -> datetime:
    """Return the end of the roll-up, which is that of the last full hour before the first roll-up."""
    return roll_up.read_closed_until() or timezone.now().replace(minute=0, second=0, microsecond=0)


def _period(name: str, start: datetime, end: datetime) -> Period:
    totals = overview.read_totals(start=start, end=end)
    return Period(name, totals, format_usd(totals.cost_micros))


def _dollars(account: dict[str, Any]) -> dict[str, Any]:
    return {
        **account,
        "cost": format_usd(account["cost_micros"]),
        "available": format_usd(account["available_micros"]),
    }


def _bars(hours: list[tuple[datetime, int]]) -> list[Bar]:
    most = max((count for _, count in hours), default=0) or 1
    heights = [round(_CHART_HEIGHT * count / most) for _, count in hours]
    return [
        Bar(index * _BAR_WIDTH, _CHART_HEIGHT - height, height, hour, count)
        for index, ((hour, count), height) in enumerate(zip(hours, heights, strict=True))
    ]
