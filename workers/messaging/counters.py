"""What operators watch of the work: the queue, and what could not be read. A number costs a look at an index or a key.

How the numbers are named outside, and who may see them, is not known here.
"""

import logging
from datetime import timedelta
from typing import Final, NamedTuple

from django.db.models import Count, Min, Q
from django.db.models.functions import Now

from workers.messaging import redis_client
from workers.models import OPEN_STATUSES, Generation, Status

log = logging.getLogger(__name__)

# What is open is counted no further: a queue this long is an outage, and looking at it must not add to it.
MAX_COUNTED_ROWS: Final = 100_000
_UNREADABLE: Final = "zekron:unreadable_images"


class Queue(NamedTuple):
    """How many generations are open, and how many seconds ago the oldest that waits was accepted."""

    queued_count: int
    running_count: int
    oldest_queued_seconds: float


def queue() -> Queue:
    """What is open at this moment, looked at no further than `LOOK_LIMIT` rows."""
    queued, running = Q(status=Status.QUEUED), Q(status=Status.RUNNING)
    seen = Generation.objects.filter(status__in=OPEN_STATUSES).values("status", "created_at")[
        :MAX_COUNTED_ROWS
    ]
    counted = seen.aggregate(
        queued=Count("status", filter=queued),
        running=Count("status", filter=running),
        waited=Now() - Min("created_at", filter=queued),
    )
    waited = counted["waited"] or timedelta()
    return Queue(counted["queued"], counted["running"], waited.total_seconds())


def count_unreadable_image() -> None:
    """Notes that an image which must be readable was not: lost by the store, or not what was sealed."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.incr(_UNREADABLE)
    except redis_client.RedisUnavailable as error:
        # Its log line is written all the same, and whoever asked for it must get an answer.
        log.debug("an unreadable image is not counted: %s", error)


def unreadable_image_count() -> int:
    """How many reads found an unreadable image since Redis was last emptied; raises broker.Away."""
    with redis_client.connection_or_unavailable() as connection:
        return int(connection.get(_UNREADABLE) or 0)
