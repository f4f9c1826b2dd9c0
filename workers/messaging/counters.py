"""Counters for operators: open generations, unreadable images, and unexpected errors of background threads.

Each number costs one query of an index or one Redis key. The module knows neither public names nor permissions.
"""

import logging
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.db.models import Count, Min, Q
from django.db.models.functions import Now

from storage.postgresql import plain_sql
from workers.messaging import redis_client
from workers.models import OPEN_STATUSES, Generation, Status

log = logging.getLogger(__name__)

# The count of open generations stops here. A queue this long is an outage, and its count must not add load.
MAX_COUNTED_ROWS: Final = 100_000
RECENT: Final = timedelta(hours=1)
# The same bound holds for the generations that ended of late.
_ENDED_BY_ERROR: Final = f"""
SELECT status, error_type, count(*) FROM (
    SELECT status, error_type FROM workers_generation
    WHERE error_type <> '' AND ended_at > statement_timestamp() - %(recent)s LIMIT {MAX_COUNTED_ROWS}
) AS ended GROUP BY status, error_type
"""  # noqa: S608 (only a constant is inserted)
_UNREADABLE: Final = "zekron:unreadable_images"
_BACKGROUND_ERRORS: Final = "zekron:background_errors"


class QueueState(NamedTuple):
    """The numbers of open generations, and the seconds since the oldest queued ones were accepted."""

    queued_count: int
    running_count: int
    async_count: int
    oldest_queued_seconds: float
    oldest_synchronous_seconds: float


def read_queue() -> QueueState:
    """Count the generations that are open now, over at most `MAX_COUNTED_ROWS` rows."""
    queued, running = Q(status=Status.QUEUED), Q(status=Status.RUNNING)
    seen = Generation.objects.filter(status__in=OPEN_STATUSES).values("status", "created_at", "is_async")[
        :MAX_COUNTED_ROWS
    ]
    counted = seen.aggregate(
        queued=Count("status", filter=queued),
        running=Count("status", filter=running),
        asynchronous=Count("status", filter=Q(is_async=True)),
        waited=Now() - Min("created_at", filter=queued),
        waited_for=Now() - Min("created_at", filter=queued & Q(is_async=False)),
    )
    waited, waited_for = counted["waited"] or timedelta(), counted["waited_for"] or timedelta()
    return QueueState(
        queued_count=counted["queued"],
        running_count=counted["running"],
        async_count=counted["asynchronous"],
        oldest_queued_seconds=waited.total_seconds(),
        oldest_synchronous_seconds=waited_for.total_seconds(),
    )


def read_ended_by_error() -> dict[tuple[str, str], int]:
    """Count the generations that failed or were cancelled within the last hour, by status and error type."""
    rows = plain_sql.execute(_ENDED_BY_ERROR, {"recent": RECENT})
    return {(status, error_type): count for status, error_type, count in rows}


def count_unreadable_image() -> None:
    """Count an image that must be readable and was not, because the store lost it or it fails authentication."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.incr(_UNREADABLE)
    except redis_client.RedisUnavailable as error:
        # The caller logs the image in any case, and its client must get a response.
        log.debug("could not count an unreadable image: %s", error)


def read_unreadable_image_count() -> int:
    """Return the number of reads of unreadable images since Redis was last emptied. Raise RedisUnavailable."""
    with redis_client.connection_or_unavailable() as connection:
        return int(connection.get(_UNREADABLE) or 0)


def count_background_error(*, name: str) -> None:
    """Count an unexpected error of a long-lived thread or task. Never raises, because it is called in its handler."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.hincrby(_BACKGROUND_ERRORS, name, 1)
    except redis_client.RedisUnavailable as error:
        # The caller logs the error in any case.
        log.debug("could not count an error of %s: %s", name, error)


def read_background_error_counts() -> dict[str, int]:
    """Return the number of unexpected errors by thread or task since Redis was last emptied.

    Raise RedisUnavailable.
    """
    with redis_client.connection_or_unavailable() as connection:
        counts: Any = connection.hgetall(_BACKGROUND_ERRORS)
    return {name.decode(): int(count) for name, count in counts.items()}
