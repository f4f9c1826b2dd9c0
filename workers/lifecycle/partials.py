"""The delivery of partial images: who gets one, and who cancels too many generations after seeing one.

A cancelled generation is free. Partial images would be free pictures without a limit on those that were seen.
"""

from datetime import timedelta
from typing import Final

from django.db.models import F
from django.db.models.functions import Now

from workers.lifecycle import operator_cancellation
from workers.lifecycle.cancellation import GENERATION_CANCELLED
from workers.models import Generation, Status, Timestamp

# An account may cancel this many generations with delivered partial images within the window. The next one suspends
# its partial images for as long.
MAX_CANCELLED: Final = 20
WINDOW: Final = timedelta(days=1)


class PartialsSuspended(Exception):
    """The account cancelled too many generations after their partial images were delivered."""


def mark_delivered(*, account_id: int, generation_id: int) -> Generation | None:
    """Note that a partial image is delivered, and return the row; None if the account must not get it.

    It gets one while its generation runs and is not to be cancelled. A later cancellation finds the mark, because both
    change the row. The function may be called any number of times.
    """
    running = Generation.objects.filter(
        pk=generation_id, account_id=account_id, status=Status.RUNNING, cancel_requested_at__isnull=True
    )
    running.filter(are_partials_delivered=False).update(are_partials_delivered=True)
    return running.filter(are_partials_delivered=True).first()


def refuse_if_suspended(*, account_id: int, now: Timestamp = Now()) -> None:
    """Raise PartialsSuspended if the account cancelled too many within a window that ended less than a day ago.

    A generation that an operator cancelled does not count.
    """
    cancelled = Generation.objects.filter(
        account_id=account_id,
        status=Status.CANCELLED,
        are_partials_delivered=True,
        ended_at__gt=now - 2 * WINDOW,
        error_type=GENERATION_CANCELLED,
    ).exclude(error_detail__startswith=operator_cancellation.DETAIL_START)
    ages = list(cancelled.order_by("-ended_at").values_list(now - F("ended_at"), flat=True))
    # Each of them is the last one too many if another MAX_CANCELLED came within the window before it.
    for age, first_age in zip(ages, ages[MAX_CANCELLED:], strict=False):
        if age < WINDOW and first_age - age < WINDOW:
            raise PartialsSuspended
