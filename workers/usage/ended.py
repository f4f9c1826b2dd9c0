"""The statement's piece that counts ended generations by hour. The roll-up and the query of usage share it.

An ended generation has one entry that settled or released its hold. The time of that entry decides its hour, so that
the sums of hours are those of the ledger.
"""

from typing import Final

from workers.usage.histograms import BOUNDS_SECONDS, BUCKET_COUNT

# The columns by which the roll-up groups, and its numbers.
GROUPS: Final = ("api_key_id", "model", "kind", "size")
NUMBERS: Final = ("completed", "failed", "cancelled", "cost_micros")
COUNTS: Final = ("wait_counts", "make_counts")
_BOUNDS: Final = f"'{{{','.join(map(str, BOUNDS_SECONDS))}}}'::float8[]"


# The counts of all buckets from the numbers of the buckets. One expression for each bucket would take PostgreSQL longer
# to plan than an hour takes to count.
_COUNT: Final = f"""ARRAY(SELECT count(each)::int FROM generate_series(0, {BUCKET_COUNT - 1}) AS bucket
        LEFT JOIN unnest({{buckets}}) AS each ON each = bucket GROUP BY bucket ORDER BY bucket)"""  # noqa: S608


def count(*, where: str, label: str = "NULL::text") -> str:
    """Return a query of the ended generations, one row for each account, hour, group and label.

    `where` is a condition on the entry `e`, and `label` an expression of the generation `g`.
    """
    return f"""
    SELECT account_id, hour, {", ".join(GROUPS)}, label, {", ".join(NUMBERS)},
        {_COUNT.format(buckets="waits")} AS wait_counts, {_COUNT.format(buckets="makes")} AS make_counts
    FROM (
        SELECT account_id, hour, {", ".join(GROUPS)}, label,
            count(*) FILTER (WHERE status = 'completed')::int AS completed,
            count(*) FILTER (WHERE status = 'failed')::int AS failed,
            count(*) FILTER (WHERE status = 'cancelled')::int AS cancelled,
            coalesce(sum(amount_micros) FILTER (WHERE entry_kind = 'settle'), 0)::bigint AS cost_micros,
            array_agg(wait) FILTER (WHERE status = 'completed') AS waits,
            array_agg(make) FILTER (WHERE status = 'completed') AS makes
        FROM (
            SELECT e.account_id, date_trunc('hour', e.created_at, 'UTC') AS hour, e.kind AS entry_kind,
                e.amount_micros, g.api_key_id, g.model, g.kind, g.status, {label} AS label,
                (g.parameters->>'width') || 'x' || (g.parameters->>'height') AS size,
                width_bucket(extract(epoch FROM g.started_at - g.created_at)::float8, {_BOUNDS}) AS wait,
                width_bucket(extract(epoch FROM g.ended_at - g.started_at)::float8, {_BOUNDS}) AS make
            FROM billing_ledgerentry e JOIN workers_generation g ON g.reservation_id = e.reservation_id
            WHERE e.kind IN ('settle', 'release') AND {where}
        ) AS ended
        GROUP BY account_id, hour, {", ".join(GROUPS)}, label
    ) AS grouped"""  # noqa: S608 (only texts of the code are inserted)
