"""Reads of generations, for replies and for whoever waits. Writes nothing."""

from collections.abc import Collection

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from storage import statements
from storage.statements import Statement, given
from workers.lifecycle import image_tokens
from workers.models import ENDED_STATUSES, Generation

# Each create asks it; Django would write the statement anew, at ten times what it costs to send it.
_OPEN_COUNT = """
SELECT count(*) FROM (
    SELECT FROM workers_generation
    WHERE status IN ('queued', 'running') AND (%(model)s::text IS NULL OR model = %(model)s) LIMIT %(most)s
) AS open
"""


def get(*, generation_id: int) -> Generation:
    """The generation with the rows of its image and its account; raises Generation.DoesNotExist."""
    generation = statements.written(_by_id).one(generation_id=generation_id)
    if generation is None:
        raise Generation.DoesNotExist
    return generation


def find_by_token(*, token: str) -> Generation:
    """The completed generation whose image this token names; raises Generation.DoesNotExist."""
    return Generation.objects.select_related("image").get(token_digest=image_tokens.digest_of(token=token))


def page(*, account_id: int, total: int, limit: int, offset: int) -> list[Generation]:
    """At most `limit` of an account's `total` generations, newest first, without the newest `offset`. As fast for the
    last page as for the first: an account numbers its generations.
    """
    newest = total - offset
    mine = Generation.objects.filter(account_id=account_id, number__gt=newest - limit, number__lte=newest)
    return list(mine.order_by("-number"))


def open_count(*, most: int, model: str | None = None) -> int:
    """How many generations, of all models or of one, are queued or running; counts no further than `most`."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_COUNT, {"model": model, "most": most})
        return int(cursor.fetchone()[0])


def ended_among(*, generation_ids: Collection[int]) -> set[int]:
    """Which of these have come to their end."""
    # One array in PostgreSQL's own spelling: ten thousand parameters would cost fifty times the processor's time.
    listed = "{" + ",".join(map(str, generation_ids)) + "}"
    among = RawSQL("workers_generation.id = ANY(%s::bigint[])", [listed], BooleanField())
    return set(Generation.objects.filter(among, status__in=ENDED_STATUSES).values_list("pk", flat=True))


def _by_id() -> Statement[Generation]:
    rows = Generation.objects.select_related("image", "account")
    return statements.selection(rows.filter(pk=given("generation_id")))
