"""Pages of an account's ledger by filters and a cursor, newest first, with the generations of holds. Writes nothing.

Each page looks at a bounded number of entries, however many the account has.
"""

from datetime import UTC, datetime
from typing import Final, NamedTuple

from django.db.models import QuerySet

from billing.models import LedgerEntry
from workers.models import Generation
from workers.usage import entry_times

Kind = LedgerEntry.Kind

# A page looks at this many entries at most, and returns those that match.
MAX_ENTRIES_PER_PAGE: Final = 5_000
# An index has the entries that people make, so their pages may look as far as they like.
_INDEXED: Final = (Kind.CREDIT, Kind.REFUND)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)


class Entry(NamedTuple):
    """A ledger entry, and the id of the generation whose hold it made or resolved."""

    row: LedgerEntry
    generation_id: int | None


class Page(NamedTuple):
    """Entries that match, and the place of the one before which more may follow, or None at the end."""

    entries: list[Entry]
    next_before: int | None


def find_page(
    *,
    account_id: int,
    kind: LedgerEntry.Kind | None,
    start: datetime | None,
    end: datetime | None,
    before: int | None,
    limit: int,
) -> Page:
    """Return at most `limit` entries before this place. Entries of a kind may be fewer, or none, while more follow.

    They have this kind, and a time from `start` until before `end`. None stands for no condition.
    """
    first, stop = _bounds(account_id, start, end)
    if before is not None:
        stop = before if stop is None else min(stop, before)
    rows = LedgerEntry.objects.filter(account_id=account_id, sequence__gte=first).order_by("-sequence")
    if kind in _INDEXED:
        return _page(_matching(rows, stop, kind, start, end), limit, None)
    if stop is None:
        newest = rows.values_list("sequence", flat=True).first()
        stop = 1 if newest is None else newest + 1
    # An account's places have no gap, so a range of places has as many entries.
    look_from = stop - MAX_ENTRIES_PER_PAGE
    following = look_from if look_from > first else None
    if following is not None:
        rows = rows.filter(sequence__gte=look_from)
    return _page(_matching(rows, stop, kind, start, end), limit, following)


def _bounds(account_id: int, start: datetime | None, end: datetime | None) -> entry_times.Places:
    if start is None and end is None:
        return entry_times.Places(1, None)
    return entry_times.find_sequences(account_id=account_id, start=start or _FIRST, end=end or _LAST)


def _matching(
    rows: QuerySet[LedgerEntry],
    stop: int | None,
    kind: LedgerEntry.Kind | None,
    start: datetime | None,
    end: datetime | None,
) -> QuerySet[LedgerEntry]:
    wanted = {"sequence__lt": stop, "kind": kind, "created_at__gte": start, "created_at__lt": end}
    return rows.filter(**{name: value for name, value in wanted.items() if value is not None})


def _page(rows: QuerySet[LedgerEntry], limit: int, following: int | None) -> Page:
    """Return the page of these rows. More may follow before the place `following`."""
    found = list(rows[: limit + 1])
    if len(found) > limit:
        found, following = found[:limit], found[limit - 1].sequence
    holds = {row.reservation_id for row in found if row.reservation_id is not None}
    ids: dict[int | None, int] = dict(
        Generation.objects.filter(reservation_id__in=holds).values_list("reservation_id", "pk")
    )
    return Page([Entry(row, ids.get(row.reservation_id)) for row in found], following)
