"""The hourly roll-up: each hour is counted once, in the statement that moves the progress past it."""

from datetime import datetime, timedelta
from typing import Final

from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.models import UsageProgress
from workers.usage import ended, entry_times

# A statement that began before the end of an hour has its transaction's id this long after it, because PostgreSQL
# cancels a statement after seconds.
GRACE: Final = timedelta(minutes=5)
# After months without a roll-up, each round closes a day, and many rounds catch up.
MAX_HOURS_A_ROUND: Final = 24
# The statement of one hour reads each of its generations, of which there may be millions.
SECONDS_AN_HOUR: Final = 120
_HOUR: Final = timedelta(hours=1)

_START: Final = """
INSERT INTO workers_usageprogress (id, closed_until)
SELECT 1, date_trunc('hour', created_at - %(disorder)s, 'UTC') FROM billing_ledgerentry ORDER BY id LIMIT 1
ON CONFLICT (id) DO NOTHING
RETURNING id
"""
_NEXT: Final = """
SELECT date_trunc('hour', created_at - %(disorder)s, 'UTC') FROM billing_ledgerentry
WHERE id >= %(first)s ORDER BY id LIMIT 1
"""
# All entries of the hours before `pending_until` are of transactions with an id below `pending_xid`, the id of this
# statement's own transaction. The end of its snapshot would be too low, because an open transaction may have that id.
# Ids begin anew after a restore into another server, and such an id is replaced.
_MARK: Final = f"""
WITH seen AS (SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS next_xid,
    date_trunc('hour', {NOW} - %(grace)s, 'UTC') AS until)
UPDATE workers_usageprogress SET pending_until = until, pending_xid = pg_current_xact_id()::text::bigint FROM seen
WHERE closed_until < until AND (pending_until IS NULL OR pending_until <= closed_until OR pending_xid > next_xid)
RETURNING id
"""  # noqa: S608 (only texts of this module are inserted)
# The progress moves and the hour is counted in one snapshot, in which none of those transactions is open any more. A
# second round waits for the row's lock, and then finds the progress moved and counts nothing.
_COUNTED: Final = ended.count(
    where="e.created_at >= %(hour)s AND e.created_at < %(end)s AND e.id >= %(first)s"
    " AND (%(stop)s::bigint IS NULL OR e.id < %(stop)s) AND EXISTS (SELECT FROM moved)"
)
_COLUMNS: Final = ", ".join(("account_id", "hour", *ended.GROUPS, *ended.NUMBERS, *ended.COUNTS))
_CLOSE: Final = f"""
WITH moved AS (
    UPDATE workers_usageprogress SET closed_until = %(end)s
    WHERE closed_until = %(hour)s AND closed_until < pending_until AND NOT EXISTS (
        SELECT FROM pg_snapshot_xip(pg_current_snapshot()) AS open(xid) WHERE xid < pending_xid::text::xid8
    )
    RETURNING id
), rolled AS (
    INSERT INTO workers_usagehour ({_COLUMNS}) SELECT {_COLUMNS} FROM ({_COUNTED}) AS counted
)
SELECT id FROM moved
"""  # noqa: S608 (only texts of the code are inserted)


def roll_up(*, max_hours: int = MAX_HOURS_A_ROUND, now: datetime | None = None) -> int:
    """Close at most this many hours, oldest first, and return their number. Hours without entries count as one.

    An hour is closed once no open transaction can add to it. Any number of processes may call it, also at once, and it
    may be killed at any point: an hour is counted with the progress past it, or not at all.
    """
    plain_sql.execute(_START, {"disorder": entry_times.DISORDER})
    plain_sql.execute(_MARK, {"now": now, "grace": GRACE})
    for closed_count in range(max_hours):
        progress = UsageProgress.objects.first()
        if progress is None or not _close(progress):
            return closed_count
    return max_hours


def read_closed_until() -> datetime | None:
    """Return the end of the last hour in the roll-up, or None before the first one."""
    progress = UsageProgress.objects.first()
    return None if progress is None else progress.closed_until


def _close(progress: UsageProgress) -> bool:
    hour, pending_until = progress.closed_until, progress.pending_until
    if pending_until is None or hour >= pending_until:
        return False
    end = min(max(hour + _HOUR, _next_hour(hour) or pending_until), pending_until)
    first, stop = entry_times.find_ids(start=hour, end=end)
    values = {"hour": hour, "end": end, "first": first, "stop": stop}
    return bool(plain_sql.execute(_CLOSE, values))


def _next_hour(hour: datetime) -> datetime | None:
    """Return an hour before which there is no entry since this one, or None if there is no entry at all."""
    first, _ = entry_times.find_ids(start=hour, end=hour)
    rows = plain_sql.execute(_NEXT, {"first": first, "disorder": entry_times.DISORDER})
    return rows[0][0] if rows else None
