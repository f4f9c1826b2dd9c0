"""What a client asks for, as the work takes it on: checked, priced, its source images sealed."""

from collections.abc import Sequence
from dataclasses import dataclass

from storage.models import StoredImage
from workers.idempotency import Idempotency


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
