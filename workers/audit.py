"""Checks that the generations agree with the money, by reading alone, a row at a time through the server's cursor."""

from collections.abc import Iterator

from django.db import connection

from billing import audit as money

# What a generation's status says of its reservation: charged once, free, or still held.
RESOLUTIONS = """
SELECT format('generation %s (%s, account %s): %s', g.id, g.status, g.account_id, said)
FROM workers_generation g LEFT JOIN billing_reservation r ON r.id = g.reservation_id CROSS JOIN LATERAL (VALUES
    (r.id IS NULL, 'has no reservation'),
    (r.account_id <> g.account_id, format('its reservation %s is of account %s', r.id, r.account_id)),
    (r.quote_micros <> g.quote_micros,
     format('its quote is %s micros and its reservation''s %s', g.quote_micros, r.quote_micros)),
    (r.resolution IS DISTINCT FROM CASE
        WHEN g.status = 'completed' THEN 'settled' WHEN g.status IN ('failed', 'cancelled') THEN 'released' ELSE '' END,
     format('its reservation %s is %s', r.id, coalesce(nullif(r.resolution, ''), 'open'))),
    (g.cost_micros IS DISTINCT FROM r.settled_micros,
     format('its cost is %s micros and %s are settled', coalesce(g.cost_micros, 0), coalesce(r.settled_micros, 0)))
) AS problem(found, said) WHERE found ORDER BY g.id
"""

# Money that is held for nothing would never be given back.
STRAYS = """
SELECT format('reservation %s of account %s belongs to no generation', r.id, r.account_id)
FROM billing_reservation r WHERE NOT EXISTS (SELECT FROM workers_generation g WHERE g.reservation_id = r.id)
"""

# Each completed generation is one settlement, and each account's spending is the sum of what its own cost.
TOTALS = """
SELECT format('account %s: spent %s micros in %s settlements, but its completed generations are %s of %s micros',
    a.id, a.spent_micros, a.settlement_count, coalesce(made, 0), coalesce(cost, 0))
FROM billing_account a LEFT JOIN (
    SELECT account_id, count(*) AS made, sum(cost_micros) AS cost FROM workers_generation
    WHERE status = 'completed' GROUP BY account_id
) AS completed ON completed.account_id = a.id
WHERE (a.spent_micros, a.settlement_count) IS DISTINCT FROM (coalesce(cost, 0), coalesce(made, 0)) ORDER BY a.id
"""

CHECKS = (RESOLUTIONS, STRAYS, TOTALS)


def problems() -> Iterator[str]:
    """One line, with ids, for each thing that does not add up, of the money and of the generations."""
    yield from money.audit()
    yield from audit()


def audit() -> Iterator[str]:
    """One line, with ids, for each disagreement; none when all is well. May run beside live traffic."""
    for statement in CHECKS:
        with connection.chunked_cursor() as cursor:
            cursor.execute(statement)
            for (line,) in cursor:
                yield line
