"""Erasure of what a client wrote: the prompt and the seed of generations that have ended.

The row stays with its model, size, cost and times, so that the history and the audit add up.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import F, Func, JSONField, Q
from django.db.models.functions import JSONObject, Now

from workers.imaging.encoders import FORMAT_PARAMETER
from workers.lifecycle.transitions import lock_some
from workers.models import ENDED_STATUSES, Generation, Timestamp

# Everything that a row keeps of its parameters. A parameter that is added later is erased unless it is listed here.
_KEPT_PARAMETERS: Final = ("width", "height", FORMAT_PARAMETER)


def erase(*, generation_ids: Collection[int]) -> int:
    """Erase the prompts and parameters of these generations as far as they have ended, and return their number.

    A generation that is open keeps its prompt, because a worker still needs it. A second call changes nothing more.
    """
    found = JSONObject(**{name: F(f"parameters__{name}") for name in _KEPT_PARAMETERS})
    # A parameter that the row does not have became null.
    kept = Func(found, function="jsonb_strip_nulls", output_field=JSONField())
    ended = Generation.objects.filter(pk__in=generation_ids, status__in=ENDED_STATUSES)
    return ended.update(prompt="", parameters=kept)


def erase_old(*, limit: int, now: Timestamp = Now()) -> int:
    """Erase at most `limit` generations that ended before PROMPT_RETENTION, oldest first, and return their number.

    Without that setting prompts are kept. The function may be called any number of times, also at once.
    """
    retention: timedelta | None = settings.PROMPT_RETENTION
    if retention is None:
        return 0
    old = ~Q(prompt="") & Q(ended_at__lte=now - retention)
    with transaction.atomic():
        return erase(generation_ids=lock_some(old, limit, first="ended_at"))
