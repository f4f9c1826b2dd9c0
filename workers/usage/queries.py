"""Usage of an account by hour, day or month, of the roll-up and of the hours that are not in it yet. Writes nothing."""

import operator
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple

from storage.postgresql import plain_sql
from workers.usage import ended, entry_times, roll_up
from workers.usage.histograms import BUCKET_COUNT

Bucket = Literal["hour", "day", "month"]
Group = Literal["key", "model", "type", "size"]

# A reply has at most this many rows.
MAX_ROWS: Final = 10_000
# Metadata is not in the roll-up, so a query by metadata reads each entry, and at most this many.
MAX_ENTRIES_READ: Final = 200_000
_COLUMNS: Final[dict[str, str]] = {"key": "api_key_id", "model": "model", "type": "kind", "size": "size"}
_LABEL: Final = "g.parameters->'metadata'->>%(metadata)s::text"
_ENTRIES: Final = """e.account_id = %(account_id)s AND e.sequence >= %(first)s
    AND (%(stop)s::bigint IS NULL OR e.sequence < %(stop)s)
    AND e.created_at >= greatest(%(start)s, (SELECT until FROM closed)) AND e.created_at < %(end)s"""
# One statement, so that the progress and the rows on both sides of it are of one moment.
_CLOSED: Final = "SELECT coalesce(max(closed_until), '-infinity') AS until FROM workers_usageprogress"
_NOTHING_CLOSED: Final = "SELECT '-infinity'::timestamptz AS until"
_ROLLED_UP: Final = f"""
    SELECT account_id, hour, {", ".join(ended.GROUPS)}, NULL::text AS label,
        {", ".join((*ended.NUMBERS, *ended.COUNTS))}
    FROM workers_usagehour WHERE account_id = %(account_id)s AND hour >= %(start)s AND hour < %(end)s
    UNION ALL"""  # noqa: S608 (only texts of the code are inserted)
_SUMS: Final = ", ".join(
    (
        *(f"sum({number})::bigint" for number in ended.NUMBERS),
        *(
            f"ARRAY[{', '.join(f'sum({counts}[{bucket + 1}])::bigint' for bucket in range(BUCKET_COUNT))}]"
            for counts in ended.COUNTS
        ),
    )
)


class TooManyRows(Exception):
    """The usage has more groups and times than a reply may have rows."""

    def __init__(self) -> None:
        super().__init__(
            f"The usage has more than {MAX_ROWS} rows. Ask for longer buckets, for a shorter range or for fewer groups."
        )


class TooManyEntries(Exception):
    """The range has more ledger entries than a query by metadata may read."""

    def __init__(self) -> None:
        super().__init__(
            f"The usage by metadata is counted from at most {MAX_ENTRIES_READ} ledger entries, and there are more"
            " between from and to. Ask for a shorter range."
        )


class Sums(NamedTuple):
    """The numbers of ended generations. The counts are histograms of the completed ones."""

    completed: int
    failed: int
    cancelled: int
    cost_micros: int
    wait_counts: list[int]
    make_counts: list[int]


class Usage(NamedTuple):
    """The usage of one group in one hour, day or month that begins at `start`.

    `group` has the value of each name that was grouped by, and `label` the value of the metadata.
    """

    start: datetime
    group: dict[str, Any]
    label: str | None
    completed: int
    failed: int
    cancelled: int
    cost_micros: int
    wait_counts: list[int]
    make_counts: list[int]


def read(
    *,
    account_id: int,
    start: datetime,
    end: datetime,
    bucket: Bucket,
    group_by: Sequence[Group] = (),
    metadata: str | None = None,
) -> list[Usage]:
    """Return the account's usage from `start` until before `end`, which are full hours, by time and group.

    `metadata` names one of the client's own values to group by. Raise TooManyRows or TooManyEntries.
    """
    live_from = start if metadata is not None else max(start, roll_up.read_closed_until() or start)
    first, stop = entry_times.find_sequences(account_id=account_id, start=live_from, end=max(end, live_from))
    if metadata is not None:
        _refuse_long_reading(account_id, first, stop)
    columns = [_COLUMNS[name] for name in group_by]
    rows = plain_sql.execute(
        _statement(columns, by_metadata=metadata is not None),
        {
            "account_id": account_id,
            "start": start,
            "end": end,
            "bucket": bucket,
            "metadata": metadata,
            "first": first,
            "stop": stop,
            "limit": MAX_ROWS + 1,
        },
    )
    if len(rows) > MAX_ROWS:
        raise TooManyRows
    return [_usage(row, group_by) for row in rows]


def add(rows: Iterable[Usage]) -> Sums:
    """Return the sums of all rows."""
    sums = Sums(0, 0, 0, 0, [0] * BUCKET_COUNT, [0] * BUCKET_COUNT)
    for row in rows:
        sums = Sums(
            sums.completed + row.completed,
            sums.failed + row.failed,
            sums.cancelled + row.cancelled,
            sums.cost_micros + row.cost_micros,
            [*map(operator.add, sums.wait_counts, row.wait_counts)],
            [*map(operator.add, sums.make_counts, row.make_counts)],
        )
    return sums


def _usage(row: tuple[Any, ...], group_by: Sequence[str]) -> Usage:
    start, label, *values = row
    group, numbers = values[: len(group_by)], values[len(group_by) :]
    return Usage(start, dict(zip(group_by, group, strict=True)), label, *numbers)


def _statement(columns: Sequence[str], *, by_metadata: bool) -> str:
    groups = ", ".join(("1", "label", *columns))
    selected = ", ".join(("date_trunc(%(bucket)s, hour, 'UTC')", "label", *columns, _SUMS))
    counted = ended.count(where=_ENTRIES, label=_LABEL) if by_metadata else ended.count(where=_ENTRIES)
    # Without MATERIALIZED, the planner would make the histogram of a row anew for each of its buckets.
    return f"""
WITH closed AS ({_NOTHING_CLOSED if by_metadata else _CLOSED}), counted AS MATERIALIZED (
    {"" if by_metadata else _ROLLED_UP}
    {counted}
)
SELECT {selected} FROM counted GROUP BY {groups} ORDER BY {groups} LIMIT %(limit)s
"""  # noqa: S608 (only texts of the code are inserted)


def _refuse_long_reading(account_id: int, first: int, stop: int | None) -> None:
    """Raise TooManyEntries for a range of too many entries, whose number is known without reading them."""
    last = stop
    if last is None:
        [(last,)] = plain_sql.execute(
            "SELECT coalesce(max(sequence), 0) + 1 FROM billing_ledgerentry WHERE account_id = %(account_id)s",
            {"account_id": account_id},
        )
    if last - first > MAX_ENTRIES_READ:
        raise TooManyEntries
