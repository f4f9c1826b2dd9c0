"""Queries of generations, for responses and for waiting clients. Writes nothing."""

from collections.abc import Collection
from itertools import islice
from typing import Final

from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from billing.models import Account
from storage.models import StoredImage
from storage.postgresql import plain_sql
from workers.lifecycle import image_tokens
from workers.models import ENDED_STATUSES, Generation

# Every create runs it. Django would build the statement anew each time, at ten times the cost of sending it.
_OPEN_COUNT: Final = """
SELECT count(*) FROM (
    SELECT FROM workers_generation
    WHERE status IN ('queued', 'running') AND (%(model)s::text IS NULL OR model = %(model)s) LIMIT %(most)s
) AS open
"""
# Every reply to a client that waited begins with it.
_WITH_IMAGE_AND_ACCOUNT: Final = f"""
SELECT {plain_sql.columns(Generation, "g")}, {plain_sql.columns(StoredImage, "i")}, {plain_sql.columns(Account, "a")}
FROM workers_generation g JOIN billing_account a ON a.id = g.account_id
    LEFT JOIN storage_storedimage i ON i.id = g.image_id
WHERE g.id = %(generation_id)s
"""  # noqa: S608 (only column names of the models are inserted)


def get(*, generation_id: int) -> Generation:
    """Return the generation with the rows of its image and its account. Raise Generation.DoesNotExist."""
    rows = plain_sql.execute(_WITH_IMAGE_AND_ACCOUNT, {"generation_id": generation_id})
    if not rows:
        raise Generation.DoesNotExist
    values, models = iter(rows[0]), (Generation, StoredImage, Account)
    each = [list(islice(values, len(model._meta.concrete_fields))) for model in models]
    generation = plain_sql.instance(Generation, each[0])
    generation.image = None if generation.image_id is None else plain_sql.instance(StoredImage, each[1])
    generation.account = plain_sql.instance(Account, each[2])
    return generation


def list_group(first: Generation) -> list[Generation]:
    """Return all generations that were accepted with this one, in their order: itself alone if none were."""
    if first.group_id is None:
        return [first]
    return list(Generation.objects.filter(group_id=first.group_id).order_by("group_index"))


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
    ended = Generation.objects.filter(among(generation_ids), status__in=ENDED_STATUSES)
    return set(ended.values_list("pk", flat=True))


def among(generation_ids: Collection[int]) -> RawSQL:
    """Return the condition that a generation is one of these, which may be ten thousand.

    The ids are one array literal, because as many parameters would cost fifty times the CPU time.
    """
    listed = "{" + ",".join(map(str, generation_ids)) + "}"
    return RawSQL("workers_generation.id = ANY(%s::bigint[])", [listed], BooleanField())
