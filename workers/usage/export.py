"""The export of an account's settled pictures: pages in the order of the ledger, which a client can take up again."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import orjson

from billing import spreadsheet
from billing.money import format_usd
from storage.postgresql import plain_sql
from workers.usage import entry_times

# A page looks at this many entries, so its memory and its time are bounded however few of them are settlements.
ENTRIES_A_PAGE: Final = 2_000

_NAMES: Final = (
    *("entry", "charged_at", "cost", "generation_id", "accepted_at", "model", "type", "size"),
    *("key_id", "key_name", "metadata"),
)
_LAST: Final = "SELECT entry_count FROM billing_account WHERE id = %(account_id)s"
_PAGE: Final = """
SELECT e.sequence, e.created_at, e.amount_micros, g.id, g.created_at, g.model, g.kind,
    (g.parameters->>'width') || 'x' || (g.parameters->>'height'), g.api_key_id, k.name, g.parameters->'metadata'
FROM billing_ledgerentry e JOIN workers_generation g ON g.reservation_id = e.reservation_id
    LEFT JOIN billing_apikey k ON k.id = g.api_key_id
WHERE e.account_id = %(account_id)s AND e.sequence > %(after)s AND e.sequence <= %(until)s AND e.kind = 'settle'
    AND e.created_at >= %(start)s AND e.created_at < %(end)s
ORDER BY e.sequence
"""


class Charge(NamedTuple):
    """One settled picture. `entry` is the place of its settlement in the account's ledger."""

    entry: int
    charged_at: datetime
    cost_micros: int
    generation_id: int
    accepted_at: datetime
    model: str
    kind: str
    size: str
    api_key_id: int | None
    key_name: str | None
    # As JSON. Without a value the request had none, or it was erased.
    metadata: str | None


def read_pages(*, account_id: int, start: datetime, end: datetime, after: int = 0) -> Iterator[list[Charge]]:
    """Yield the account's charges from `start` until before `end` that follow the entry `after`, in their order.

    A page may be empty. Each is one statement, and no transaction is open between two pages. The export ends with the
    last entry that the ledger had at its first page. An entry has its place from its commit on, and none comes between
    two others later. So `after` misses no charge and repeats none.
    """
    first, stop = entry_times.find_sequences(account_id=account_id, start=start, end=end)
    [(last,)] = plain_sql.execute(_LAST, {"account_id": account_id})
    last = last if stop is None else min(last, stop - 1)
    after = max(after, first - 1)
    while after < last:
        until = min(after + ENTRIES_A_PAGE, last)
        values = {"account_id": account_id, "start": start, "end": end, "after": after, "until": until}
        yield [Charge(*row) for row in plain_sql.execute(_PAGE, values)]
        after = until


def write_csv(charges: Sequence[Charge], *, with_header: bool = False) -> bytes:
    """Return the charges as lines of CSV, after a line with the names of the columns if it is wanted."""
    rows = [tuple(_values(charge).values()) for charge in charges]
    return spreadsheet.write([_NAMES, *rows] if with_header else rows)


def write_json_lines(charges: Sequence[Charge]) -> bytes:
    """Return the charges as JSON objects, one a line."""
    lines = ({**_values(charge), "metadata": orjson.loads(charge.metadata or "{}")} for charge in charges)
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)


def _values(charge: Charge) -> dict[str, spreadsheet.Cell]:
    return {
        "entry": charge.entry,
        "charged_at": _utc(charge.charged_at),
        "cost": format_usd(charge.cost_micros),
        "generation_id": charge.generation_id,
        "accepted_at": _utc(charge.accepted_at),
        "model": charge.model,
        "type": charge.kind,
        "size": charge.size,
        "key_id": charge.api_key_id,
        "key_name": charge.key_name,
        "metadata": charge.metadata or "{}",
    }


def _utc(moment: datetime) -> str:
    # A client compares these times with those of its query, so no part of a second is cut off.
    return moment.astimezone(UTC).isoformat()
