"""The numbers of the chart of Usage, which are those of its table: one series for each group, one value a bar."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from billing.models import ApiKey
from billing.money import MICROS_PER_DOLLAR, format_usd
from workers.models import Kind
from workers.usage.histograms import quantile
from workers.usage.queries import Bucket, Group, Sums, Usage, add

# A chart with more colours cannot be read. The groups with the smallest sums share one.
MAX_SERIES: Final = 7
# A page lists this many groups. The export has every charge.
MAX_GROUPS: Final = 100
# People in the console use no key, and older releases noted none.
WITHOUT_KEY: Final = "No key"
OTHERS: Final = "Others"
_FORMATS: Final[dict[Bucket, str]] = {"hour": "%Y-%m-%d %H:%M", "day": "%Y-%m-%d", "month": "%Y-%m"}
# A tick of the chart has less room.
_TICKS: Final[dict[Bucket, str]] = {"hour": "%d %H:%M", "day": "%m-%d", "month": "%Y-%m"}


class NamedSums(NamedTuple):
    """The sums of a group, or of the time of one bar."""

    name: str
    sums: Sums

    @property
    def seconds(self) -> list[float | None]:
        """The seconds of making, then of waiting: for half of the images, and for 95 % of them."""
        counts = (self.sums.make_counts, self.sums.wait_counts)
        return [quantile(each, part) for each in counts for part in (0.5, 0.95)]


class Series(NamedTuple):
    """One colour of the chart. The values are images, or micro-dollars."""

    name: str
    values: list[int]


def list_groups(rows: Sequence[Usage], names: dict[Any, str]) -> list[NamedSums]:
    """Return the sums of each group, the highest cost first."""
    by_group: dict[Any, list[Usage]] = defaultdict(list)
    for row in rows:
        by_group[_group_of(row)].append(row)
    groups = [NamedSums(names[group], add(found)) for group, found in by_group.items()]
    return sorted(groups, key=lambda group: (-group.sums.cost_micros, -group.sums.completed, group.name))


def list_times(rows: Sequence[Usage], bucket: Bucket) -> list[NamedSums]:
    """Return the sums of each time that has some, the newest first. The rows have no groups."""
    return [NamedSums(label_of(row.start, bucket), add([row])) for row in reversed(rows)]


def list_series(
    rows: Sequence[Usage], names: dict[Any, str], starts: Sequence[datetime], *, is_money: bool
) -> list[Series]:
    """Return the series of the chart, the largest first, and the rest as one."""
    places = {start: place for place, start in enumerate(starts)}
    by_group: dict[Any, list[int]] = {}
    for row in rows:
        values = by_group.setdefault(_group_of(row), [0] * len(starts))
        values[places[row.start]] += row.cost_micros if is_money else row.completed
    found = [Series(names[group], values) for group, values in by_group.items()]
    found.sort(key=lambda series: (-sum(series.values), series.name))
    rest = found[MAX_SERIES:]
    if not rest:
        return found
    summed = [sum(values) for values in zip(*(series.values for series in rest), strict=True)]
    return [*found[:MAX_SERIES], Series(OTHERS, summed)]


def read_names(rows: Sequence[Usage], *, account_id: int, group: Group) -> dict[Any, str]:
    """Return the name of each group for people."""
    values = {_group_of(row) for row in rows}
    if group == "key":
        return _read_keys(account_id, values)
    if group == "type":
        return {value: str(Kind(value).label) for value in values}
    return {value: str(value) for value in values}


def list_starts(start: datetime, end: datetime, bucket: Bucket) -> list[datetime]:
    """Return the beginning of each bar from `start` until before `end`."""
    return list(_starts(start, end, bucket))


def chart_data(
    series: Sequence[Series], starts: Sequence[datetime], bucket: Bucket, *, is_money: bool
) -> Any:
    """Return what the script of the chart draws: texts for the bars, and numbers for each series."""
    unit = MICROS_PER_DOLLAR if is_money else 1
    return {
        "bucket": bucket.capitalize(),
        "labels": [label_of(start, bucket) for start in starts],
        "ticks": [start.strftime(_TICKS[bucket]) for start in starts],
        "isMoney": is_money,
        "series": [{"name": each.name, "values": [value / unit for value in each.values]} for each in series],
    }


def chart_rows(
    series: Sequence[Series], starts: Sequence[datetime], bucket: Bucket, *, is_money: bool
) -> list[dict[str, Any]]:
    """Return the chart's numbers as rows of texts, the newest first, without bars that have none."""
    write = format_usd if is_money else str
    found = zip(starts, zip(*(each.values for each in series), strict=True), strict=False)
    return [
        {"start": label_of(start, bucket), "cells": [*map(write, values)], "sum": write(sum(values))}
        for start, values in reversed(list(found))
        if any(values)
    ]


def label_of(start: datetime, bucket: Bucket) -> str:
    """Return the text for the bar that begins at this time in UTC."""
    return start.strftime(_FORMATS[bucket])


def _group_of(row: Usage) -> Any:
    return next(iter(row.group.values()), None)


def _read_keys(account_id: int, ids: set[Any]) -> dict[Any, str]:
    keys = ApiKey.objects.filter(account_id=account_id, pk__in=ids - {None})
    known = {key.pk: f"{key.name} ({key})" if key.name else str(key) for key in keys}
    return {key_id: WITHOUT_KEY if key_id is None else known.get(key_id, f"Key {key_id}") for key_id in ids}


def _starts(start: datetime, end: datetime, bucket: Bucket) -> Iterator[datetime]:
    at = start.replace(day=1) if bucket == "month" else start
    while at < end:
        yield at
        if bucket == "month":
            at = (at + timedelta(days=31)).replace(day=1)
        else:
            at += timedelta(days=1) if bucket == "day" else timedelta(hours=1)
