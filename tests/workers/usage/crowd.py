"""Many generations of other accounts, with their entries, written by SQL in the order of their times."""

from datetime import datetime
from typing import Final

from django.db import connection

ACCOUNTS: Final = 500
_FILL: Final = """
SET LOCAL session_replication_role = replica;
INSERT INTO billing_account (name, status, balance_micros, reserved_micros, spent_micros, settlement_count, hold_count,
    open_hold_count, entry_count)
SELECT format('crowd %%s', n), 'active', 0, 0, 0, 0, 0, 0, 0 FROM generate_series(1, {accounts}) AS n;
CREATE TEMPORARY TABLE crowd ON COMMIT DROP AS
SELECT n, first.id + n %% {accounts} AS account_id, (n - 1) / {accounts} + 1 AS number,
    (SELECT coalesce(max(id), 0) FROM billing_reservation) + 1000000 + n AS reservation_id,
    %(start)s::timestamptz + n * ((%(end)s::timestamptz - %(start)s::timestamptz) / %(count)s) AS at
FROM generate_series(1, %(count)s) AS n,
    (SELECT min(id) AS id FROM billing_account WHERE name LIKE 'crowd %%') AS first;
INSERT INTO billing_reservation (id, account_id, quote_micros, resolution, created_at, resolved_at)
SELECT reservation_id, account_id, 26700, 'released', at, at FROM crowd;
INSERT INTO workers_generation (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros,
    status, attempt_count, turn_at, not_before, deadline_at, created_at, started_at, ended_at, error_code, error_type,
    error_detail)
SELECT account_id, number, reservation_id, 'create', 'zekron-image-1', 'a boat', '{{"width": 512, "height": 512}}',
    26700, 'failed', 1, at, at, at, at - interval '3 s', at - interval '1 s', at, '', '', '' FROM crowd;
INSERT INTO billing_ledgerentry (account_id, sequence, kind, amount_micros, balance_after_micros,
    reserved_after_micros, reservation_id, actor, reason, created_at)
SELECT account_id, 2 * number - 1 + which, (ARRAY['hold', 'release'])[1 + which], 26700, 1000000, 26700 * (1 - which),
    reservation_id, '', '', at - (1 - which) * interval '3 s'
FROM crowd, generate_series(0, 1) AS which ORDER BY at - (1 - which) * interval '3 s';
UPDATE billing_account SET entry_count = 2 * %(count)s / {accounts} WHERE name LIKE 'crowd %%';
SET LOCAL session_replication_role = origin;
"""


def fill(*, count: int, start: datetime, end: datetime) -> None:
    """Write so many failed generations that ended between these times. Needs a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(_FILL.format(accounts=ACCOUNTS), {"count": count, "start": start, "end": end})
        for table in ("account", "reservation", "ledgerentry"):
            cursor.execute(f"ANALYZE billing_{table}")
        cursor.execute("ANALYZE workers_generation")
