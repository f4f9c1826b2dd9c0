"""Submission of a request, already checked and priced and with sealed source images, and the row made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from billing.ledger import Hold
from storage.models import StoredImage
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, Timestamp

# The time from acceptance to the last moment at which an attempt may start. Afterwards the hold is released.
DEADLINE_SECONDS = 600
# Each open generation of an account delays the turn of its next one by this time. One account's flood delays no other.
TURN_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A request and its quote. `sources` are sealed in the store but not yet recorded."""

    account_id: int
    kind: str
    model: str
    prompt: str
    parameters: dict[str, int]
    quote_micros: int
    sources: Sequence[StoredImage] = ()
    idempotency: Idempotency | None = None


def build_row(*, submission: Submission, held: Hold, now: Timestamp) -> Generation:
    """Return the queued row, not inserted yet."""
    return Generation(
        account_id=submission.account_id,
        number=held.number,
        reservation_id=held.reservation_id,
        kind=submission.kind,
        model=submission.model,
        prompt=submission.prompt,
        parameters=submission.parameters,
        quote_micros=submission.quote_micros,
        **_build_times(now, held.open_count),
    )


# The size is far above an account's limit of open generations. Tests pass their own datetimes as well.
@lru_cache(maxsize=64)
def _build_times(now: Timestamp, open_count: int) -> dict[str, Any]:
    """Return the row's times as identical objects at every call, not as equal ones.

    The expressions identify the cached statement, and identical ones need no comparison part by part.
    """
    return {
        "created_at": now,
        "turn_at": now + timedelta(seconds=TURN_SECONDS * (open_count - 1)),
        "not_before": now,
        "hinted_at": now,
        "deadline_at": now + timedelta(seconds=DEADLINE_SECONDS),
    }
