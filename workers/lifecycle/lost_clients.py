"""Clients that left before their reply was sent, and the retries that their libraries then send without a key.

The official clients of OpenAI repeat a request after a broken connection, and never send an Idempotency-Key. Such a
retry is answered with the generation of its first try, once, so that nobody pays twice for one picture. Only the web
process that held the connection knows of the loss. If that process dies with it, the retry is a new request.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from storage.postgresql import plain_sql
from storage.postgresql.plain_sql import NOW
from workers.models import OPEN_STATUSES, Generation, Status, Timestamp

# A library has made all its retries long before.
MAX_AGE: Final = timedelta(minutes=10)
# The row is read again under its lock, so that of two retries one attaches and the other is a new request. A worker
# that holds the lock is waited for: a retry that passed its generation over would buy a second picture. The first of a
# group has the mark of the whole group, also after it failed, while another one is open or completed.
ATTACH: Final = f"""
UPDATE workers_generation g SET client_lost_at = NULL, lost_digest = ''
WHERE client_lost_at IS NOT NULL AND id = (
    SELECT id FROM workers_generation lost
    WHERE account_id = %(account_id)s AND lost_digest = ANY(%(digests)s)
        AND (status IN ('queued', 'running', 'completed') OR EXISTS (SELECT FROM workers_generation other
            WHERE other.group_id = lost.id AND other.status IN ('queued', 'running', 'completed')))
        AND client_lost_at > {NOW} - interval '{MAX_AGE.total_seconds():.0f} seconds'
    ORDER BY id LIMIT 1 FOR NO KEY UPDATE
)
RETURNING {plain_sql.columns(Generation, "g")}
"""  # noqa: S608 (only constants are inserted)


def note(*, generation_id: int, digest: str, now: Timestamp = Now()) -> None:
    """Note that the client of a request left before its reply was sent. A second call changes the time alone.

    `digest` is the request's under the present secret key.

    `generation_id` is that of the request's only generation, or of the first of its group.
    """
    alive = Q(status__in=(*OPEN_STATUSES, Status.COMPLETED))
    others = Generation.objects.filter(alive, group_id=OuterRef("pk"))
    wanted = Generation.objects.filter(alive | Q(Exists(others)), pk=generation_id)
    wanted.update(client_lost_at=now, lost_digest=digest)


def attach(*, account_id: int, digests: Sequence[str]) -> Generation | None:
    """Return the oldest generation whose client was lost with this request, and let no other retry have it.

    `digests` are the request's under each secret key.

    It is the first of its group, which may have failed while others have not.
    """
    rows = plain_sql.execute(ATTACH, {"account_id": account_id, "digests": list(digests), "now": None})
    return plain_sql.instance(Generation, rows[0]) if rows else None
