"""Queries of generations, for responses and for waiting clients. Writes nothing."""

from collections.abc import Collection

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from storage import statements
from storage.statements import Statement, given
from workers.lifecycle import image_tokens
from workers.models import ENDED_STATUSES, Generation

# Every create runs it. Django would build the statement anew each time, at ten times the cost of sending it.
_OPEN_COUNT = """
SELECT count(*) FROM (
    SELECT FROM workers_generation
    WHERE status IN ('queued', 'running') AND (%(model)s::text IS NULL OR model = %(model)s) LIMIT %(most)s
) AS open
"""


def get(*, generation_id: int) -> Generation:
    """Return the generation with the rows of its image and its account. Raise Generation.DoesNotExist."""
    generation = statements.written(_by_id).one(generation_id=generation_id)
    if generation is None:
        raise Generation.DoesNotExist
    return generation


def find_by_token(*, token: str) -> Generation:
    """Return the completed generation whose image this token names. Raise Generation.DoesNotExist."""
    return Generation.objects.select_related("image").get(token_digest=image_tokens.digest_of(token=token))


def get_page(*, account_id: int, total: int, limit: int, offset: int) -> list[Generation]:
    """Return at most `limit` of an account's `total` generations, newest first, without the newest `offset`.

    The last page is as fast as the first, because the query selects by the account's numbers of its generations.
    """
    newest = total - offset
    mine = Generation.objects.filter(account_id=account_id, number__gt=newest - limit, number__lte=newest)
    return list(mine.order_by("-number"))


def count_open(*, most: int, model: str | None = None) -> int:
    """Return the number of open generations, of one model or of all, counted no further than `most`."""
    with connection.cursor() as cursor:
        cursor.execute(_OPEN_COUNT, {"model": model, "most": most})
        return int(cursor.fetchone()[0])


def find_ended(*, generation_ids: Collection[int]) -> set[int]:
    """Return the ids of those generations that have ended."""
    # The ids are one array literal, because ten thousand parameters would cost fifty times the CPU time.
    listed = "{" + ",".join(map(str, generation_ids)) + "}"
    among = RawSQL("workers_generation.id = ANY(%s::bigint[])", [listed], BooleanField())
    return set(Generation.objects.filter(among, status__in=ENDED_STATUSES).values_list("pk", flat=True))


def _by_id() -> Statement[Generation]:
    rows = Generation.objects.select_related("image", "account")
    return statements.selection(rows.filter(pk=given("generation_id")))
