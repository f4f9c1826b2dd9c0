"""Says over Redis that a generation has ended, so that whoever waits for it wakes at once.

Pub/sub may lose a message; waiters look at the row as well, so a failure here costs seconds, not a reply.
"""

import logging

from workers.messaging import redis_client

log = logging.getLogger(__name__)


def channel() -> str:
    """The channel's name; pub/sub ignores the number of the database, so the name says it."""
    number = redis_client.connection().connection_pool.connection_kwargs.get("db", 0)
    return f"zekron:{number}:ended"


def publish_ended(*, generation_id: int) -> None:
    """Tells every web process that the generation is completed, failed or cancelled."""
    try:
        with redis_client.connection_or_unavailable() as connection:
            connection.publish(channel(), str(generation_id))
    except redis_client.RedisUnavailable as error:
        log.debug("could not announce the end of generation %s: %s", generation_id, error)
