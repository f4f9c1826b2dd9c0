"""The refund of a completed generation: a credit of its cost to its account, once.

The settlement stays, because entries are never changed. The image stays too.
"""

from typing import Final
from uuid import UUID, uuid5

from billing import ledger
from billing.models import LedgerEntry
from workers.models import Generation

# The id of a refund's credit is derived from that of its generation. The database has each such id once.
_NAMESPACE: Final = UUID("64d92944-4a6a-4aca-8b51-2f959e5840ac")


class NothingToRefund(Exception):
    """The generation was not charged. The text says so."""


def refund(*, generation_id: int, actor: str, reason: str) -> LedgerEntry:
    """Credit the cost of the generation to its account, in its own transaction, and return the entry.

    Raise ValueError for a blank actor or reason, Generation.DoesNotExist, NothingToRefund, or ledger.MovedBefore for a
    generation that was refunded. Then nothing has changed.
    """
    if not reason.strip():
        raise ValueError("The reason must not be blank.")
    generation = Generation.objects.get(pk=generation_id)
    if not generation.cost_micros:
        raise NothingToRefund(f"Generation {generation_id} is {generation.status} and was not charged.")
    return ledger.top_up(
        account_id=generation.account_id,
        amount_micros=generation.cost_micros,
        actor=actor,
        reason=f"refund of generation {generation_id}: {reason.strip()}",
        request_id=_request_id(generation_id),
    )


def find(*, generation_id: int) -> LedgerEntry | None:
    """Return the credit by which the generation was refunded, or None."""
    return LedgerEntry.objects.filter(request_id=_request_id(generation_id)).first()


def _request_id(generation_id: int) -> UUID:
    return uuid5(_NAMESPACE, str(generation_id))
