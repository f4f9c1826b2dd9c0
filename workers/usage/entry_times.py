"""Ledger entries by their time, found in the order of the ledger. An index on the time would cost time with each image.

An entry has the time at which its statement began, and gets its place under the lock of its account. So the times are
in the order of the places, but for the longest wait of a statement. Reads only.
"""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from storage.postgresql import plain_sql

# An entry may have an earlier time than an entry before it, by less than this. PostgreSQL cancels a statement that
# waits for longer than `STATEMENT_SECONDS` of its time limits, which are far less.
DISORDER: Final = timedelta(minutes=5)

# A binary search. It reads as many entries as the number of entries has binary digits.
_SEARCH: Final = """
WITH RECURSIVE search(low, high, stop) AS (
    SELECT min({place}), max({place}) + 1, max({place}) + 1 FROM billing_ledgerentry WHERE {scope}
    UNION ALL
    SELECT CASE WHEN is_early THEN found.place + 1 ELSE low END, CASE WHEN is_early THEN high ELSE middle END, stop
    FROM search CROSS JOIN LATERAL (SELECT (low + high) / 2 AS middle) AS half CROSS JOIN LATERAL (
        SELECT {place} AS place, created_at FROM billing_ledgerentry
        WHERE {scope} AND {place} >= (low + high) / 2 ORDER BY {place} LIMIT 1
    ) AS found CROSS JOIN LATERAL (SELECT place < high AND created_at < %(at)s AS is_early) AS compared
    WHERE low < high
)
SELECT low, stop FROM search WHERE low = high
"""
_BY_ID: Final = _SEARCH.format(place="id", scope="true")
_BY_SEQUENCE: Final = _SEARCH.format(place="sequence", scope="account_id = %(account_id)s")
_BALANCE: Final = """
SELECT coalesce((SELECT balance_after_micros FROM billing_ledgerentry
        WHERE account_id = %(account_id)s AND sequence = %(first)s - 1), 0)
    + coalesce(sum(CASE kind WHEN 'credit' THEN amount_micros ELSE -amount_micros END), 0)::bigint
FROM billing_ledgerentry
WHERE account_id = %(account_id)s AND sequence >= %(first)s AND (%(stop)s::bigint IS NULL OR sequence < %(stop)s)
    AND created_at < %(at)s AND kind IN ('credit', 'refund', 'settle')
"""


class Places(NamedTuple):
    """A range of places that has all entries of a range of times, and a few before and after it.

    `stop` is the first place after the range. It is None at the end of the ledger, where entries are still written.
    """

    first: int
    stop: int | None


def find_ids(*, start: datetime, end: datetime) -> Places:
    """Return a range of ids that has all entries from `start` until before `end`."""
    return _find(_BY_ID, {}, start, end)


def find_sequences(*, account_id: int, start: datetime, end: datetime) -> Places:
    """Return a range of the account's sequence that has all its entries from `start` until before `end`."""
    return _find(_BY_SEQUENCE, {"account_id": account_id}, start, end)


def read_balance(*, account_id: int, at: datetime) -> int:
    """Return the account's balance in micros after all entries that have an earlier time than this."""
    first, stop = find_sequences(account_id=account_id, start=at, end=at)
    values = {"account_id": account_id, "at": at, "first": first, "stop": stop}
    [(balance_micros,)] = plain_sql.execute(_BALANCE, values)
    return int(balance_micros)


def _find(statement: str, scope: dict[str, int], start: datetime, end: datetime) -> Places:
    first, _ = _search(statement, scope, _shift(start, -DISORDER))
    return Places(first, _search(statement, scope, _shift(end, DISORDER)).stop)


def _shift(at: datetime, by: timedelta) -> datetime:
    """Return the time moved, or the time itself at an end of the calendar, where no entry is."""
    try:
        return at + by
    except OverflowError:
        return at


def _search(statement: str, scope: dict[str, int], at: datetime) -> Places:
    """Return the place of an entry at this time or later that follows an earlier one, and None for it at the end."""
    values: dict[str, Any] = {**scope, "at": at}
    rows = plain_sql.execute(statement, values)
    if not rows:
        return Places(0, None)
    place, stop = rows[0]
    return Places(place, None if place == stop else place)
