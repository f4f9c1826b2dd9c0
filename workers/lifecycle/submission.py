"""What a client asks for, as the work takes it on: checked, priced, its sources sealed; and the row that it becomes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

from billing.ledger import Hold
from storage.models import StoredImage
from workers.lifecycle.idempotency import Idempotency
from workers.models import Generation, Timestamp

# From acceptance to the last moment at which an attempt may start; over it, the hold is given back.
DEADLINE_SECONDS = 600
# What each open generation of an account puts off its next one: a flood of one holds up nobody else.
TURN_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What is asked for and what it may cost; `sources` are sealed in the store but not yet recorded."""

    account_id: int
    kind: str
    model: str
    prompt: str
    parameters: dict[str, int]
    quote_micros: int
    sources: Sequence[StoredImage] = ()
    idempotency: Idempotency | None = None


def queued(*, submission: Submission, held: Hold, now: Timestamp) -> Generation:
    """The row that waits for a worker, not inserted yet."""
    return Generation(
        account_id=submission.account_id,
        number=held.number,
        reservation_id=held.reservation_id,
        kind=submission.kind,
        model=submission.model,
        prompt=submission.prompt,
        parameters=submission.parameters,
        quote_micros=submission.quote_micros,
        **_times(now, held.open_count),
    )


# As many as an account may have open, and far more; tests have moments of their own.
@lru_cache(maxsize=64)
def _times(now: Timestamp, open_count: int) -> dict[str, Any]:
    """The same expressions each time, not equal ones: they tell the statement, and are not compared part by part."""
    return {
        "created_at": now,
        "turn_at": now + timedelta(seconds=TURN_SECONDS * (open_count - 1)),
        "not_before": now,
        "hinted_at": now,
        "deadline_at": now + timedelta(seconds=DEADLINE_SECONDS),
    }
