"""The work that a purge has before it, for operators."""

from typing import Final, NamedTuple

from storage.postgresql import plain_sql

# A backlog this large is an outage, and its count must not add load.
MAX_COUNTED_ROWS: Final = 100_000
# Each half reads no further than the limit, by the index of the purge.
_READ: Final = f"""
SELECT count(*), extract(epoch FROM coalesce(statement_timestamp() - min(due_at), interval '0')) FROM (
    (SELECT key_destroyed_at AS due_at FROM storage_storedimage
    WHERE wrapped_key IS NULL AND purged_at IS NULL ORDER BY id LIMIT {MAX_COUNTED_ROWS})
    UNION ALL
    (SELECT expires_at FROM storage_storedimage
    WHERE wrapped_key IS NOT NULL AND expires_at <= statement_timestamp()
    ORDER BY expires_at LIMIT {MAX_COUNTED_ROWS})
) AS due
"""  # noqa: S608 (only a constant is inserted)


class PurgeBacklog(NamedTuple):
    """The number of images that are due to be purged, and the age of the oldest of them in seconds."""

    image_count: int
    oldest_seconds: float


def read() -> PurgeBacklog:
    """Count the images whose key or bytes are still to be destroyed, over at most twice `MAX_COUNTED_ROWS` rows."""
    [(image_count, oldest_seconds)] = plain_sql.execute(_READ, {})
    return PurgeBacklog(image_count, max(0.0, float(oldest_seconds)))
