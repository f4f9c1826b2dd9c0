"""Completion events: messages over Redis that a generation has ended, so that its waiting client wakes at once.

Pub/sub may lose a message. Waiters also read the row, so a lost message delays the response by seconds only.
"""

import logging

from workers.messaging import redis_client

log = logging.getLogger(__name__)


def channel() -> str:
    """Return the channel's name. It contains the number of the database, because pub/sub ignores that number."""
    number = redis_client.connection().connection_pool.connection_kwargs.get("db", 0)
    return f"zekron:{number}:ended"


def publish_ended(*, generation_id: int) -> None:
    """Publish to every web process that the generation is completed, failed or cancelled.

    The function never raises for an unavailable Redis.
    """
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.publish(channel(), str(generation_id))
    except redis_client.RedisUnavailable as error:
        log.debug("could not publish the completion event of generation %s: %s", generation_id, error)
