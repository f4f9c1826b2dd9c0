"""The statements of an attempt in plain SQL: its claim, the renewal of its lease, and its completion.

`generations.py` sends them. Each is one trip, and the locks of a completion are held for that one statement.
"""

from datetime import timedelta
from typing import Final

from billing import holds
from storage import images
from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.lifecycle import eligibility, made_pictures
from workers.models import Generation
from workers.webhooks import events, outbox

# A worker renews its leases every few seconds. Without a renewal for this time, it counts as dead.
LEASE_SECONDS: Final = 30
# The published promise: a client can fetch an image for a day after it was made, unless it asked for a shorter time.
IMAGE_LIFE: Final = timedelta(hours=24)


def life_of(generation: Generation) -> timedelta:
    """Return the time for which the image is kept, as the statement of its completion reads it too."""
    seconds = generation.parameters.get("expires_in")
    return IMAGE_LIFE if seconds is None else timedelta(seconds=seconds)


# A crash of the database may forget a claim, so its commit does not wait for the disk. The row is then queued again,
# and the worker's lease is lost. The setting holds for the transaction of this statement. A later claim of the same
# generation finds the time of the first one, and writes no second event.
CLAIM: Final = f"""
UPDATE workers_generation g SET status = 'running', attempt_count = attempt_count + 1, lease_token = %(lease_token)s,
    lease_until = {NOW} + interval '{LEASE_SECONDS} seconds', started_at = coalesce(started_at, {NOW})
WHERE {eligibility.CLAIMABLE} AND id = (
    SELECT id FROM workers_generation WHERE {eligibility.CLAIMABLE} AND model = %(model)s
    ORDER BY turn_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING {plain_sql.columns(Generation, "g")},
    CASE WHEN g.started_at = {NOW} THEN {outbox.record(event_type=events.STARTED, generation="g")} ELSE 0 END,
    set_config('synchronous_commit', 'off', true)
"""  # noqa: S608 (only constants are inserted)
RENEW: Final = f"""
UPDATE workers_generation SET lease_until = {NOW} + interval '{LEASE_SECONDS} seconds'
WHERE status = 'running' AND lease_token = ANY(%(lease_tokens)s::uuid[])
RETURNING lease_token, cancel_requested_at IS NULL
"""  # noqa: S608 (only constants are inserted)
# The lease is tested under the lock of its row. The reservation's lock follows, and the account's comes last. The keys
# of the sources are destroyed with it, and the purge deletes their bytes later.
_IMAGE = images.record(after="entry", expires_at=f"{NOW} + (SELECT image_life FROM leased)")  # noqa: S608
COMPLETE: Final = f"""
WITH leased AS MATERIALIZED (
    SELECT id, reservation_id, least(interval '{IMAGE_LIFE.total_seconds():.0f} seconds',
        (parameters->>'expires_in')::int * interval '1 second') AS image_life
    FROM workers_generation
    WHERE id = %(generation_id)s AND status = 'running' AND lease_token = %(lease_token)s
        AND cancel_requested_at IS NULL
    FOR NO KEY UPDATE
), {holds.settle(after="leased")}, {_IMAGE}, moved AS (
    UPDATE workers_generation g SET status = 'completed', lease_token = NULL, lease_until = NULL, ended_at = {NOW},
        image_id = image.id, expires_at = image.expires_at, cost_micros = %(cost_micros)s,
        token_digest = %(token_digest)s, provenance = %(provenance)s, parameters = g.parameters
            || jsonb_strip_nulls(jsonb_build_object('prompt_tokens', %(prompt_tokens)s::int,
                'prompt_tokens_read', %(prompt_tokens_read)s::int))
    FROM leased, image WHERE g.id = leased.id
    RETURNING g.id, {outbox.record(event_type=events.COMPLETED, generation="g")} AS webhook_count
), destroyed AS (
    UPDATE storage_storedimage source SET wrapped_key = NULL, key_destroyed_at = {NOW}
    FROM moved JOIN workers_sourceimage s ON s.generation_id = moved.id
    WHERE source.id = s.image_id AND source.wrapped_key IS NOT NULL
), {made_pictures.REMEMBER}
SELECT webhook_count FROM moved
"""  # noqa: S608 (only constants are inserted)
