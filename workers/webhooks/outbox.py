"""The outbox: a row for each event and each endpoint that gets it, written with the change that is the event.

A change that is one statement writes the rows in it (`record`). Every other writes them in its transaction.
"""

import logging
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final

import orjson
from celery import current_app
from django.db import transaction
from django.db.models.functions import Now

from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.messaging import redis_client
from workers.models import Timestamp
from workers.webhooks import events
from workers.webhooks.schedule import MAX_TRIES

log = logging.getLogger(__name__)

# The parameter of a generation for the address that its request named.
URL_PARAMETER: Final = "webhook_url"
# The name of the task that wakes the process that delivers.
DELIVER_TASK: Final = "zekron_api.tasks.deliver_webhooks"

# The time of an event that is no end.
_MOMENTS: Final = {events.STARTED: "{}.started_at", events.IMAGE_DELETED: NOW}
_EMIT: Final = f"""
WITH event AS MATERIALIZED (SELECT gen_random_uuid() AS id), webhook AS (
    INSERT INTO workers_webhookdelivery (event_id, event_type, endpoint_id, data, url, created_at, next_at,
        attempt_count, tries_left, error)
    SELECT event.id, %(event_type)s, endpoint.id, %(data)s::jsonb, '', {NOW}, {NOW}, 0, {MAX_TRIES}, ''
    FROM event, workers_webhookendpoint endpoint
    WHERE endpoint.account_id = %(account_id)s AND endpoint.is_enabled AND NOT endpoint.is_default
        AND %(event_type)s = ANY(endpoint.events)
    RETURNING endpoint_id
)
SELECT count(*) FROM webhook
"""  # noqa: S608 (only constants are inserted)


def record(*, event_type: str, generation: str) -> str:
    """Return the call that writes an event of a generation for every endpoint that gets it, and returns their number.

    `generation` is the alias of the generation's row, as it is after the change. A statement with this call must be
    followed by `wake_soon`.
    """
    # The events' names are constants.
    assert event_type in events.SUBSCRIBABLE
    moment = _MOMENTS.get(event_type, "{}.ended_at").format(generation)
    return (
        f"workers_write_event('{event_type}', {generation}.account_id, {generation}.id,"
        f" {generation}.parameters->>'{URL_PARAMETER}', {moment})"
    )


def write(*, generation_id: int, event_type: str, now: Timestamp = Now()) -> None:
    """Write an event of a generation in the caller's transaction. An end has the time of its row, and no `now`."""
    _require_transaction()
    # The statement reads the database's own clock.
    values = {"generation_id": generation_id, "now": now if isinstance(now, datetime) else None}
    [(count,)] = plain_sql.execute(_compose(event_type), values)
    wake_soon(count)


def emit(*, account_id: int, event_type: str, data: Mapping[str, Any], now: datetime | None = None) -> int:
    """Write an event that is of no generation in the caller's transaction, and return how many endpoints get it.

    `data` is the `data` of the message as it is sent. Addresses that requests name do not get it.
    """
    _require_transaction()
    values = {
        "account_id": account_id,
        "event_type": event_type,
        "data": orjson.dumps(data).decode(),
        "now": now,
    }
    [(count,)] = plain_sql.execute(_EMIT, values)
    wake_soon(count)
    return int(count)


def wake_soon(count: int) -> None:
    """Wake the process that delivers after the commit, if this many rows are more than none."""
    if count:
        transaction.on_commit(wake)


def wake() -> None:
    """Tell the process that delivers of new rows. The message is only a hint: that process reads the table anyway.

    The function never raises for an unavailable broker.
    """
    try:
        with (
            redis_client.circuit_breaker().guard(),
            current_app.pool.acquire(block=True, timeout=redis_client.TIMEOUT_SECONDS) as connection,
        ):
            current_app.send_task(
                DELIVER_TASK,
                queue="chores",
                # A message that waited longer tells nothing new.
                expires=5,
                ignore_result=True,
                retry=False,
                connection=connection,  # type: ignore[arg-type] # Celery types its pool as one of producers.
            )
    except redis_client.RedisUnavailable as error:
        log.debug("could not announce a webhook, which the next round finds: %s", error)


@cache
def _compose(event_type: str) -> str:
    written = record(event_type=event_type, generation="g")
    return f"SELECT {written} FROM workers_generation g WHERE g.id = %(generation_id)s"  # noqa: S608 (constants)


def _require_transaction() -> None:
    if not transaction.get_connection().in_atomic_block:
        raise RuntimeError("an event is written in the transaction of the change that it tells of")
