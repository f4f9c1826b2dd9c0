"""Read-only checks that all money adds up.

Each check is one statement, so it sees one moment. A server-side cursor returns the rows, so memory is bounded however
long the ledger is. The module does not know how generations must agree with the money.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from django.db import connection
from django.db.models import Model

from billing import income_audit
from billing.models import Account, ApiKey, LedgerEntry, Reservation

# An account's balance, spending and reserved amount must follow from its entries and open reservations.
ACCOUNTS: Final = """
WITH moved AS (
    SELECT account_id, count(*) AS entries, count(*) FILTER (WHERE kind = 'settle') AS settlements,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'credit'), 0) AS credits,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'refund'), 0) AS refunds,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'settle'), 0) AS settled
    FROM billing_ledgerentry GROUP BY account_id
), held AS (
    SELECT account_id, count(*) AS holds, count(*) FILTER (WHERE resolution = '') AS open_holds,
        count(*) FILTER (WHERE resolution = '' AND is_async) AS open_async,
        sum(quote_micros) FILTER (WHERE resolution = '') AS quotes
    FROM billing_reservation GROUP BY account_id
), newest AS (
    SELECT DISTINCT ON (account_id) account_id,
        balance_after_micros AS balance, reserved_after_micros AS reserved
    FROM billing_ledgerentry ORDER BY account_id, sequence DESC
), account AS (
    SELECT a.*, coalesce(entries, 0) AS entries, coalesce(settlements, 0) AS settlements,
        coalesce(credits, 0) AS credits, coalesce(refunds, 0) AS refunds, coalesce(settled, 0) AS settled,
        coalesce(holds, 0) AS holds, coalesce(open_holds, 0) AS open_holds, coalesce(open_async, 0) AS open_async,
        coalesce(quotes, 0) AS quotes, coalesce(balance, 0) AS balance, coalesce(reserved, 0) AS reserved
    FROM billing_account a LEFT JOIN moved ON moved.account_id = a.id
        LEFT JOIN held ON held.account_id = a.id LEFT JOIN newest ON newest.account_id = a.id
)
SELECT format('account %s: %s', id, message) FROM account CROSS JOIN LATERAL (VALUES
    (balance_micros + spent_micros <> credits - refunds,
     format('balance %s + spent %s is not credits %s - refunds %s micros',
            balance_micros, spent_micros, credits, refunds)),
    (spent_micros <> settled,
     format('spent %s is not the settlements'' sum %s micros', spent_micros, settled)),
    (settlement_count <> settlements,
     format('counts %s settlements and has %s', settlement_count, settlements)),
    (reserved_micros <> quotes,
     format('reserved %s is not the open holds'' sum %s micros', reserved_micros, quotes)),
    (hold_count <> holds OR open_hold_count <> open_holds,
     format('counts %s holds, %s of them open, and has %s and %s', hold_count, open_hold_count, holds, open_holds)),
    (open_async_count <> open_async,
     format('counts %s open asynchronous holds and has %s', open_async_count, open_async)),
    (entry_count <> entries, format('counts %s entries and has %s', entry_count, entries)),
    (balance_micros <> balance OR reserved_micros <> reserved,
     format('balance %s and reserved %s are not the last entry''s %s and %s micros',
            balance_micros, reserved_micros, balance, reserved)),
    (reserved_micros < 0 OR reserved_micros > balance_micros,
     format('reserved %s is not within 0 and balance %s micros', reserved_micros, balance_micros)),
    (balance_micros % 100 <> 0 OR reserved_micros % 100 <> 0 OR spent_micros % 100 <> 0,
     format('balance %s, reserved %s or spent %s micros has more than four decimal places',
            balance_micros, reserved_micros, spent_micros))
) AS discrepancy(found, message) WHERE found ORDER BY id
"""

# All rows together must satisfy these equations too, so that the audit also counts rows of a missing account.
TOTALS: Final = """
SELECT format('in total: %s', message) FROM (
    SELECT coalesce(sum(balance_micros), 0) AS balance, coalesce(sum(spent_micros), 0) AS spent,
        coalesce(sum(reserved_micros), 0) AS reserved, coalesce(sum(settlement_count), 0) AS counted
    FROM billing_account
) AS account CROSS JOIN (
    SELECT coalesce(sum(amount_micros) FILTER (WHERE kind = 'credit'), 0) AS credits,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'refund'), 0) AS refunds,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'settle'), 0) AS settled,
        count(*) FILTER (WHERE kind = 'settle') AS settlements
    FROM billing_ledgerentry
) AS entry CROSS JOIN (
    SELECT coalesce(sum(quote_micros), 0) AS quotes FROM billing_reservation WHERE resolution = ''
) AS held CROSS JOIN LATERAL (VALUES
    (balance + spent <> credits - refunds,
     format('balance %s + spent %s is not credits %s - refunds %s micros', balance, spent, credits, refunds)),
    (spent <> settled, format('spent %s is not the settlements'' sum %s micros', spent, settled)),
    (counted <> settlements, format('%s settlements are counted and there are %s', counted, settlements)),
    (reserved <> quotes, format('reserved %s is not the open holds'' sum %s micros', reserved, quotes))
) AS discrepancy(found, message) WHERE found
"""

# Each entry must follow the previous entry of its account, and store the sums after its own movement.
CHAIN: Final = """
SELECT format('account %s: entry %s (id %s, %s) %s', account_id, sequence, id, kind, message) FROM (
    SELECT e.*, r.quote_micros,
        lag(e.sequence, 1, 0::bigint) OVER chain AS sequence_before,
        lag(e.balance_after_micros, 1, 0::bigint) OVER chain AS balance_before,
        lag(e.reserved_after_micros, 1, 0::bigint) OVER chain AS reserved_before
    FROM billing_ledgerentry e LEFT JOIN billing_reservation r ON r.id = e.reservation_id
    WINDOW chain AS (PARTITION BY e.account_id ORDER BY e.sequence)
) AS entry CROSS JOIN LATERAL (SELECT
    balance_before + CASE kind WHEN 'credit' THEN amount_micros WHEN 'refund' THEN -amount_micros
        WHEN 'settle' THEN -amount_micros ELSE 0 END,
    reserved_before + CASE kind WHEN 'hold' THEN amount_micros WHEN 'settle' THEN -quote_micros
        WHEN 'release' THEN -quote_micros ELSE 0 END
) AS due(balance, reserved) CROSS JOIN LATERAL (VALUES
    (sequence <> sequence_before + 1, format('comes right after entry %s', sequence_before)),
    (balance_after_micros <> balance,
     format('stores balance %s, due is %s micros', balance_after_micros, balance)),
    (reserved_after_micros IS DISTINCT FROM reserved,
     format('stores reserved %s, due is %s micros', reserved_after_micros, reserved)),
    (amount_micros <= 0 OR amount_micros % 100 <> 0,
     format('has an amount of %s micros, no positive multiple of 100', amount_micros)),
    ((kind IN ('hold', 'settle', 'release')) <> (reservation_id IS NOT NULL),
     format('has reservation %s', coalesce(reservation_id::text, 'none')))
) AS discrepancy(found, message) WHERE found ORDER BY account_id, sequence
"""

# Each reservation must have one hold entry. A resolved one must have one settle or release entry, an open one none.
RESERVATIONS: Final = """
SELECT format('reservation %s of account %s (%s, quote %s micros) %s',
        id, account_id, coalesce(nullif(resolution, ''), 'open'), quote_micros, message) FROM (
    SELECT r.*,
        count(*) FILTER (WHERE kind = 'hold') AS holds,
        count(*) FILTER (WHERE kind = 'settle') AS settles,
        count(*) FILTER (WHERE kind = 'release') AS releases,
        count(*) FILTER (WHERE e.account_id <> r.account_id) AS strangers,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'hold'), 0) AS held,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'settle'), 0) AS settled,
        coalesce(sum(amount_micros) FILTER (WHERE kind = 'release'), 0) AS released
    FROM billing_reservation r LEFT JOIN billing_ledgerentry e ON e.reservation_id = r.id GROUP BY r.id
) AS reservation CROSS JOIN LATERAL (VALUES
    (holds <> 1 OR held <> quote_micros, format('has %s hold entries of %s micros', holds, held)),
    (settles <> (resolution = 'settled')::int OR settled <> coalesce(settled_micros, 0),
     format('says %s micros are settled and has %s settle entries of %s micros',
            coalesce(settled_micros, 0), settles, settled)),
    (releases <> (resolution = 'released')::int OR released <> releases * quote_micros,
     format('has %s release entries of %s micros', releases, released)),
    (strangers > 0, format('has %s entries of another account', strangers)),
    (coalesce(settled_micros, 0) > quote_micros, format('is settled at %s micros', settled_micros))
) AS discrepancy(found, message) WHERE found ORDER BY id
"""

# A key's counters must follow from the holds that moved them. Those of a period count from its start on.
KEYS: Final = """
SELECT format('key %s: %s', id, message) FROM (
    SELECT key.id, open_hold_count, held_micros, spent_micros, coalesce(opened, 0) AS opened,
        coalesce(held, 0) AS held, coalesce(spent, 0) AS spent, coalesce(strangers, 0) AS strangers
    FROM billing_apikey key LEFT JOIN (
        SELECT key.id, count(*) FILTER (WHERE resolution = '') AS opened,
            sum(r.quote_micros) FILTER (WHERE resolution = '' AND r.created_at >= counted_since) AS held,
            sum(r.settled_micros) FILTER (WHERE r.created_at >= counted_since) AS spent,
            count(*) FILTER (WHERE e.api_key_id IS DISTINCT FROM key.id) AS strangers
        FROM billing_reservation r JOIN billing_apikey key ON key.id = r.api_key_id
            LEFT JOIN billing_ledgerentry e ON e.reservation_id = r.id AND e.kind = 'hold'
        GROUP BY key.id
    ) AS moved USING (id)
) AS key CROSS JOIN LATERAL (VALUES
    (open_hold_count <> opened, format('counts %s open holds and has %s', open_hold_count, opened)),
    (held_micros <> held, format('holds %s and its open holds are %s micros', held_micros, held)),
    (spent_micros <> spent, format('spent %s and its settlements are %s micros', spent_micros, spent)),
    (strangers > 0, format('has %s holds whose entries name another key', strangers))
) AS discrepancy(found, message) WHERE found ORDER BY id
"""

# The sums by account contain no row that refers to a missing account or reservation.
STRAYS: Final = """
SELECT format('entry id %s points to account %s, which does not exist', e.id, e.account_id)
FROM billing_ledgerentry e WHERE NOT EXISTS (SELECT FROM billing_account a WHERE a.id = e.account_id)
UNION ALL
SELECT format('entry id %s points to reservation %s, which does not exist', e.id, e.reservation_id)
FROM billing_ledgerentry e WHERE e.reservation_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM billing_reservation r WHERE r.id = e.reservation_id)
UNION ALL
SELECT format('reservation %s points to account %s, which does not exist', r.id, r.account_id)
FROM billing_reservation r WHERE NOT EXISTS (SELECT FROM billing_account a WHERE a.id = r.account_id)
"""

# Only an append-only ledger proves anything, so its triggers must be active.
GUARDS: Final = """
SELECT format('the ledger''s trigger %s is missing or disabled', name)
FROM (VALUES ('billing_ledgerentry', 'billing_ledger_unchanged'),
    ('billing_ledgerentry', 'billing_ledger_untruncated'),
    ('billing_debtentry', 'billing_debts_unchanged'),
    ('billing_debtentry', 'billing_debts_untruncated')) AS wanted(on_table, name)
WHERE NOT EXISTS (SELECT FROM pg_trigger
    WHERE tgrelid = on_table::regclass AND tgname = name AND tgenabled = 'A')
"""

# The constraints guarantee their conditions without trust in any code, so each must exist and be valid.
CONSTRAINTS: Final = """
SELECT 'the constraint ' || name || ' of ' || on_table || ' is missing or not valid'
FROM unnest(%s::text[], %s::text[]) AS wanted(on_table, name)
WHERE NOT EXISTS (SELECT FROM pg_constraint
        WHERE conrelid = on_table::regclass AND conname = name AND convalidated)
    AND NOT EXISTS (SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
        WHERE indrelid = on_table::regclass AND relname = name AND indisunique AND indisvalid)
"""

CHECKS: Final = (ACCOUNTS, TOTALS, CHAIN, RESERVATIONS, KEYS, STRAYS, *income_audit.CHECKS, GUARDS)


def audit() -> Iterator[str]:
    """Yield one line with ids for each discrepancy, and nothing when all money adds up."""
    for statement in CHECKS:
        yield from lines(statement)
    yield from missing_constraints(models=(Account, ApiKey, Reservation, LedgerEntry, *income_audit.MODELS))


def missing_constraints(*, models: Iterable[type[Model]]) -> Iterator[str]:
    """Yield one line for each constraint of the models that the database lacks or has not validated."""
    wanted = [(model._meta.db_table, named.name) for model in models for named in model._meta.constraints]
    yield from lines(CONSTRAINTS, [table for table, _ in wanted], [name for _, name in wanted])


def lines(statement: str, *parameters: list[str]) -> Iterator[str]:
    """Run the statement and yield the only column of its rows, with few rows in memory at a time."""
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, parameters or None)
        for (line,) in cursor:
            yield line
