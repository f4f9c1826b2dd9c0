"""Reads of generations, for replies and for whoever waits. Writes nothing."""

from collections.abc import Collection, Sequence
from datetime import timedelta

from django.db.models import Q
from django.db.models.functions import Now

from workers import tokens
from workers.models import ENDED_STATUSES, OPEN_STATUSES, Generation, Status
from workers.moments import Moment


def get(*, generation_id: int) -> Generation:
    """The generation with its image's row; raises Generation.DoesNotExist."""
    return Generation.objects.select_related("image").get(pk=generation_id)


def find_by_token(*, token: str) -> Generation:
    """The completed generation whose image this token names; raises Generation.DoesNotExist."""
    return Generation.objects.select_related("image").get(token_digest=tokens.digest_of(token=token))


def page(*, account_id: int, limit: int, offset: int) -> tuple[list[Generation], int]:
    """An account's generations, newest first, and how many there are in all."""
    mine = Generation.objects.filter(account_id=account_id)
    return list(mine.order_by("-pk")[offset : offset + limit]), mine.count()


def open_count(*, most: int) -> int:
    """How many generations are queued or running in all; counts no further than `most`."""
    return Generation.objects.filter(status__in=OPEN_STATUSES)[:most].count()


def ended_among(*, generation_ids: Collection[int]) -> set[int]:
    """Which of these have come to their end."""
    ended = Generation.objects.filter(pk__in=generation_ids, status__in=ENDED_STATUSES)
    return set(ended.values_list("pk", flat=True))


def due_ids(*, limit: int, hinted_before_seconds: float, now: Moment = Now()) -> Sequence[int]:
    """The oldest that could be claimed now and whose message was sent this long ago, or not at all."""
    unheard = Q(hinted_at__isnull=True) | Q(hinted_at__lt=now - timedelta(seconds=hinted_before_seconds))
    waiting = Generation.objects.filter(
        unheard, status=Status.QUEUED, not_before__lte=now, deadline_at__gt=now
    )
    return list(waiting.order_by("pk").values_list("pk", flat=True)[:limit])
