"""The statement that accepts a request, already checked and priced and with sealed source images.

It holds the money, queues a row for each picture, and records the sources and the idempotency key, or does nothing.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from itertools import chain
from typing import Final, NamedTuple

from billing import holds
from storage import images
from storage.models import StoredImage
from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.lifecycle import idempotency
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation

# The time from acceptance, or for asynchronous work from the end of its time in the queue, to the last moment at which
# an attempt may start. Afterwards the hold is released.
DEADLINE_SECONDS: Final = 600
# Each open generation of an account delays the turn of its next one by this time. One account's flood delays no other.
TURN_SECONDS: Final = 5

# The first generation of a key has its id from the key, because the key is written first.
_GENERATION: Final = f"""
named_hold AS MATERIALIZED (
    SELECT hold.*, coalesce(CASE position WHEN 1 THEN {{id}} END,
        nextval(pg_get_serial_sequence('workers_generation', 'id'))) AS id
    FROM hold
), generation AS (
    INSERT INTO workers_generation AS g (id, group_id, group_index, account_id, api_key_id, person_id, number,
        reservation_id, kind, model, prompt, parameters, quote_micros, is_async, status, attempt_count, turn_at,
        not_before, queue_until, deadline_at, created_at, hinted_at, request_id, traceparent, error_code, error_type,
        error_detail)
    SELECT id, CASE WHEN %(count)s > 1 THEN first_value(id) OVER (ORDER BY position) END,
        CASE WHEN %(count)s > 1 THEN position - 1 END, account_id, %(api_key_id)s::bigint, %(person_id)s::bigint,
        number, reservation_id, %(kind)s, %(model)s, %(prompt)s, (%(parameters)s::jsonb[])[position], %(quote_micros)s,
        %(is_async)s, 'queued', 0, {NOW} + (open_count - 1) * interval '{TURN_SECONDS} seconds', {NOW},
        {NOW} + %(queue_seconds)s * interval '1 second',
        {NOW} + (coalesce(%(queue_seconds)s, 0) + {DEADLINE_SECONDS}) * interval '1 second', {NOW}, {NOW},
        %(request_id)s, %(traceparent)s, '', '', ''
    FROM named_hold
    RETURNING *
)"""  # noqa: S608 (only constants are inserted)
_SOURCE: Final = """
source AS (
    INSERT INTO workers_sourceimage (generation_id, position, image_id)
    SELECT g.id, s.position, image.id
    FROM unnest(%(image_object_key)s::text[], %(source_of)s::int[], %(source_position)s::int[])
            AS s (object_key, generation, position)
        JOIN image USING (object_key)
        JOIN hold ON hold.position = s.generation
        JOIN generation g USING (reservation_id)
)"""


class Origin(NamedTuple):
    """The HTTP request that asks: its id, and its place in a trace (W3C Trace Context), or an empty text."""

    request_id: str = ""
    traceparent: str = ""


NO_ORIGIN: Final = Origin()


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request and its quote for each picture, which has an item in `parameters` and, for an edit, in `sources`.

    Sources are sealed in the store but not yet recorded. Asynchronous work has `queue_seconds`: if no attempt starts
    within this time, it is cancelled and free.
    """

    account_id: int
    api_key_id: int | None = None
    # The person who asks in the console.
    person_id: int | None = None
    kind: str
    model: str
    prompt: str
    parameters: Sequence[Mapping[str, object]]
    quote_micros: int
    sources: Sequence[Sequence[StoredImage]] = ()
    idempotency: Idempotency | None = None
    queue_seconds: int | None = None
    origin: Origin = NO_ORIGIN

    @property
    def is_async(self) -> bool:
        """Return whether nobody waits for the pictures on an open connection."""
        return self.queue_seconds is not None


def insert(*, submission: Submission, open_limit: int, now: datetime | None) -> list[Generation]:
    """Hold the quotes and insert the queued rows, in the order of `parameters`.

    Returns nothing and has written nothing if the account may not hold as much, or if the idempotency key is taken.
    """
    named, sources = submission.idempotency, list(chain.from_iterable(submission.sources))
    places = [
        (index, place)
        for index, each in enumerate(submission.sources, 1)
        for place in range(1, len(each) + 1)
    ]
    values: dict[str, object] = {
        **holds.hold_values(
            account_id=submission.account_id,
            quote_micros=submission.quote_micros,
            count=len(submission.parameters),
            is_async=submission.is_async,
            open_limit=open_limit,
            api_key_id=submission.api_key_id,
        ),
        "person_id": submission.person_id,
        "queue_seconds": submission.queue_seconds,
        "now": now,
        "kind": submission.kind,
        "model": submission.model,
        "prompt": submission.prompt,
        **submission.origin._asdict(),
        "parameters": [json.dumps(each) for each in submission.parameters],
    }
    if named:
        values |= {"key_digest": named.key_digest, "request_digest": named.request_digest}
    if sources:
        values |= images.record_values(sources)
        values |= {
            "source_of": [index for index, _ in places],
            "source_position": [place for _, place in places],
        }
    rows = plain_sql.execute(_compose(has_key=named is not None, has_sources=bool(sources)), values)
    return [plain_sql.instance(Generation, row) for row in rows]


@cache
def _compose(*, has_key: bool, has_sources: bool) -> str:
    keyed = "(SELECT generation_id FROM named)"
    ctes = [
        holds.PAYER,
        *([idempotency.TAKE] if has_key else []),
        holds.hold(after="named" if has_key else "payer"),
        _GENERATION.format(id=keyed if has_key else "NULL::bigint"),
        *([images.record(after="generation"), _SOURCE] if has_sources else []),
    ]
    columns = plain_sql.columns(Generation, "g")
    return f"WITH {','.join(ctes)} SELECT {columns} FROM generation g ORDER BY number"  # noqa: S608 (own texts)
