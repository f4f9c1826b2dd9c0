"""Audit of rows: generations, money and images must agree. It only reads, with a few rows in memory at a time.

`billing.audit` checks that the money adds up in itself.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.db.models.functions import Now

from billing import audit as money
from billing.models import Account
from storage.models import StoredImage
from workers.models import (
    OPEN_STATUSES,
    Generation,
    IdempotencyKey,
    SourceImage,
    Timestamp,
    UsageHour,
    UsageProgress,
)

# The generation's status must match its reservation, which is charged once, released, or still held. Both name the key
# that asked, which is of the same account.
RESOLUTIONS = """
SELECT format('generation %s (%s, account %s): %s', g.id, g.status, g.account_id, said)
FROM workers_generation g LEFT JOIN billing_reservation r ON r.id = g.reservation_id
    LEFT JOIN billing_ledgerentry e ON e.reservation_id = r.id AND e.kind = 'hold'
    LEFT JOIN billing_apikey k ON k.id = g.api_key_id CROSS JOIN LATERAL (VALUES
    (r.id IS NULL, 'has no reservation'),
    (r.account_id <> g.account_id, format('its reservation %s is of account %s', r.id, r.account_id)),
    (r.quote_micros <> g.quote_micros,
     format('its quote is %s micros and its reservation''s %s', g.quote_micros, r.quote_micros)),
    (r.resolution IS DISTINCT FROM CASE
        WHEN g.status = 'completed' THEN 'settled' WHEN g.status IN ('failed', 'cancelled') THEN 'released' ELSE '' END,
     format('its reservation %s is %s', r.id, coalesce(nullif(r.resolution, ''), 'open'))),
    (g.cost_micros IS DISTINCT FROM r.settled_micros,
     format('its cost is %s micros and %s are settled', coalesce(g.cost_micros, 0), coalesce(r.settled_micros, 0))),
    (g.is_async <> r.is_async, 'is asynchronous and its reservation is not, or the other way round'),
    (g.cost_micros > g.quote_micros, format('its cost of %s micros is over its quote', g.cost_micros)),
    (g.api_key_id IS DISTINCT FROM e.api_key_id,
     format('was asked for by key %s, and its hold by key %s', coalesce(g.api_key_id::text, 'none'),
            coalesce(e.api_key_id::text, 'none'))),
    (k.account_id <> g.account_id, format('its key %s is of account %s', k.id, k.account_id))
) AS problem(found, said) WHERE found ORDER BY g.id
"""

# Each hold belongs to one generation. Entries are never deleted and refer to their hold, so no hold can vanish.
STRAYS = """
SELECT format('reservation %s of account %s belongs to %s', r.id, r.account_id,
    CASE count(g.id) WHEN 0 THEN 'no generation' ELSE count(g.id) || ' generations' END)
FROM billing_reservation r LEFT JOIN workers_generation g ON g.reservation_id = r.id
GROUP BY r.id HAVING count(g.id) <> 1 ORDER BY r.id
"""

# Each completed generation is one settlement, and an account's spending is the sum of its generations' costs.
TOTALS = """
SELECT format('account %s: %s', a.id, said)
FROM billing_account a LEFT JOIN (
    SELECT account_id, count(*) FILTER (WHERE status = 'completed') AS made,
        sum(cost_micros) FILTER (WHERE status = 'completed') AS cost,
        sum(quote_micros) FILTER (WHERE status IN ('queued', 'running')) AS quotes
    FROM workers_generation GROUP BY account_id
) AS work ON work.account_id = a.id CROSS JOIN LATERAL (VALUES
    ((spent_micros, settlement_count) IS DISTINCT FROM (coalesce(cost, 0), coalesce(made, 0)),
     format('spent %s micros in %s settlements, but its completed generations are %s of %s micros',
            spent_micros, settlement_count, coalesce(made, 0), coalesce(cost, 0))),
    (reserved_micros <> coalesce(quotes, 0),
     format('reserved %s micros, but its open generations'' quotes are %s micros',
            reserved_micros, coalesce(quotes, 0)))
) AS problem(found, said) WHERE found ORDER BY a.id
"""

# The totals of all accounts must agree too, so that a generation of a missing account is found.
ALL_TOGETHER = """
SELECT format('in total: spent %s micros in %s settlements and reserved %s, but all generations are %s of %s and %s',
    spent, counted, reserved, made, cost, quotes) FROM (
    SELECT coalesce(sum(spent_micros), 0) AS spent, coalesce(sum(settlement_count), 0) AS counted,
        coalesce(sum(reserved_micros), 0) AS reserved FROM billing_account
) AS account CROSS JOIN (
    SELECT count(*) FILTER (WHERE status = 'completed') AS made,
        coalesce(sum(cost_micros) FILTER (WHERE status = 'completed'), 0) AS cost,
        coalesce(sum(quote_micros) FILTER (WHERE status IN ('queued', 'running')), 0) AS quotes
    FROM workers_generation
) AS work WHERE (spent, counted, reserved) <> (cost, made, quotes)
"""

# A paid image is readable until it expires. A source image is unreadable once its generation has ended.
IMAGES = """
SELECT format('generation %s (%s, account %s): %s', g.id, g.status, g.account_id, said)
FROM workers_generation g LEFT JOIN storage_storedimage i ON i.id = g.image_id CROSS JOIN LATERAL (VALUES
    (i.id IS NULL, format('its image %s has no row', coalesce(g.image_id::text, 'none'))),
    (i.expires_at < g.expires_at,
     format('its image %s expires at %s, and itself at %s', i.id, i.expires_at, g.expires_at)),
    (i.key_destroyed_at < g.expires_at,
     format('the key of its image %s was destroyed at %s, before it expired', i.id, i.key_destroyed_at)),
    (i.purged_at < g.expires_at, format('its image %s was deleted at %s, before it expired', i.id, i.purged_at))
) AS problem(found, said) WHERE g.status = 'completed' AND found
UNION ALL
SELECT format('generation %s (%s, account %s): the key of its source image %s outlives its end',
    g.id, g.status, g.account_id, i.id)
FROM workers_generation g JOIN workers_sourceimage s ON s.generation_id = g.id
    JOIN storage_storedimage i ON i.id = s.image_id
WHERE g.status IN ('completed', 'failed', 'cancelled') AND i.wrapped_key IS NOT NULL
UNION ALL
SELECT format('image %s belongs to no generation', i.id) FROM storage_storedimage i
WHERE i.wrapped_key IS NOT NULL AND NOT EXISTS (SELECT FROM workers_generation g WHERE g.image_id = i.id)
    AND NOT EXISTS (SELECT FROM workers_sourceimage s WHERE s.image_id = i.id)
"""

# An hour that is rolled up has the settlements and releases of the ledger. An hour that is not, has no row.
USAGE = """
WITH closed AS (
    SELECT coalesce(max(closed_until), '-infinity') AS until FROM workers_usageprogress
), moved AS (
    SELECT account_id, date_trunc('hour', created_at, 'UTC') AS hour, count(*) FILTER (WHERE kind = 'settle') AS made,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'settle'), 0) AS cost,
        count(*) FILTER (WHERE kind = 'release') AS unpaid
    FROM billing_ledgerentry, closed WHERE kind IN ('settle', 'release') AND created_at < until GROUP BY 1, 2
), rolled AS (
    SELECT account_id, hour, sum(completed) AS made, sum(cost_micros) AS cost, sum(failed + cancelled) AS unpaid
    FROM workers_usagehour GROUP BY 1, 2
)
SELECT format('usage of account %s in the hour of %s: %s images of %s micros and %s unpaid, but the ledger has %s of %s'
    ' and %s', account_id, hour AT TIME ZONE 'UTC', coalesce(rolled.made, 0), coalesce(rolled.cost, 0),
    coalesce(rolled.unpaid, 0), coalesce(moved.made, 0), coalesce(moved.cost, 0), coalesce(moved.unpaid, 0))
FROM moved FULL JOIN rolled USING (account_id, hour)
WHERE (moved.made, moved.cost, moved.unpaid) IS DISTINCT FROM (rolled.made, rolled.cost, rolled.unpaid)
ORDER BY account_id, hour
"""

CHECKS = (RESOLUTIONS, STRAYS, TOTALS, ALL_TOGETHER, IMAGES, USAGE)

# The sweep gives up a generation within seconds of its deadline. The purge destroys a key within a minute of its
# expiry, and deletes the object within ten minutes more. Anything later than these limits was missed.
OPEN_GRACE = timedelta(minutes=5)
KEY_GRACE = timedelta(minutes=10)
OBJECT_GRACE = timedelta(hours=1)
ROWS_AT_ONCE = 2000


def problems() -> Iterator[str]:
    """Yield one line for each discrepancy of the money and the generations, and for each overdue row."""
    yield from money.audit()
    yield from find_disagreements()
    yield from find_overdue()


def find_disagreements() -> Iterator[str]:
    """Yield one line with ids for each discrepancy between generations, money and images.

    It may run beside live traffic.
    """
    for statement in CHECKS:
        yield from money.lines(statement)
    written = (Generation, SourceImage, IdempotencyKey, StoredImage, UsageHour, UsageProgress)
    yield from money.missing_constraints(models=written)


def find_overdue(*, now: Timestamp = Now()) -> Iterator[str]:
    """Yield one line for each generation that should have ended, and each key or object that should be gone."""
    past_deadline = Generation.objects.filter(status__in=OPEN_STATUSES, deadline_at__lt=now - OPEN_GRACE)
    for pk, status, deadline_at in _rows(past_deadline, "pk", "status", "deadline_at"):
        yield f"generation {pk} ({status}): its deadline was {deadline_at}"
    with_key = StoredImage.objects.filter(wrapped_key__isnull=False, expires_at__lt=now - KEY_GRACE)
    for pk, expires_at in _rows(with_key, "pk", "expires_at"):
        yield f"image {pk}: expired at {expires_at} and still has its key"
    with_object = StoredImage.objects.filter(purged_at__isnull=True, key_destroyed_at__lt=now - OBJECT_GRACE)
    for pk, destroyed_at in _rows(with_object, "pk", "key_destroyed_at"):
        yield f"image {pk}: its key was destroyed at {destroyed_at} and its object is not deleted"


def find_open_work() -> Iterator[str]:
    """Yield one line for each open generation and each account with reserved money; none after all work has ended."""
    for pk, status in _rows(Generation.objects.filter(status__in=OPEN_STATUSES), "pk", "status"):
        yield f"generation {pk} ({status}): is open"
    for pk, reserved_micros in _rows(Account.objects.exclude(reserved_micros=0), "pk", "reserved_micros"):
        yield f"account {pk}: {reserved_micros} micros are reserved"


def _rows(found: QuerySet[Any], *fields: str) -> Iterator[tuple[Any, ...]]:
    return found.order_by("pk").values_list(*fields).iterator(chunk_size=ROWS_AT_ONCE)
