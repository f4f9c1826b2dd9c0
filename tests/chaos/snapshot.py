"""All that the service has written down, read once after everything has quietened."""

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import set_json_loads

TABLES = {
    "accounts": "SELECT * FROM billing_account",
    "entries": "SELECT * FROM billing_ledgerentry ORDER BY account_id, sequence",
    "reservations": "SELECT * FROM billing_reservation",
    "generations": "SELECT *, expires_at <= now() AS is_expired FROM workers_generation",
    "images": "SELECT *, bound_to AS associated_data, expires_at <= now() AS is_expired FROM storage_storedimage",
    "sources": "SELECT * FROM workers_sourceimage",
}


@dataclass(kw_only=True)
class Snapshot:
    """The tables by id, an account's entries in their order, and the names of all objects in the store."""

    accounts: dict[int, Any]
    entries: dict[int, list[Any]]
    reservations: dict[int, Any]
    generations: dict[int, Any]
    images: dict[int, Any]
    source_image_ids: set[int]
    object_keys: Collection[str]


def gather(database: "psycopg.Connection[Any]", *, object_keys: Collection[str]) -> Snapshot:
    """Read every table whole."""
    cursor = database.cursor(row_factory=namedtuple_row)
    # Django's connections give JSON as text.
    set_json_loads(json.loads, cursor)
    rows: dict[str, list[Any]] = {
        name: cursor.execute(statement).fetchall() for name, statement in TABLES.items()
    }
    entries: dict[int, list[Any]] = defaultdict(list)
    for entry in rows["entries"]:
        entries[entry.account_id].append(entry)
    return Snapshot(
        accounts=_by_id(rows["accounts"]),
        entries=entries,
        reservations=_by_id(rows["reservations"]),
        generations=_by_id(rows["generations"]),
        images=_by_id(rows["images"]),
        source_image_ids={source.image_id for source in rows["sources"]},
        object_keys=object_keys,
    )


def _by_id(rows: list[Any]) -> dict[int, Any]:
    return {row.id: row for row in rows}
