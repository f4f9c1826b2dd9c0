"""Pages of an account's history by filters and a cursor, newest first. Writes nothing.

Each page looks at a bounded number of rows, however many the account has.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final, Literal, NamedTuple

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from workers.models import OPEN_STATUSES, Generation, Kind, Status

# No index serves every combination of filters. A page looks at this many rows at most, and returns those that match.
MAX_ROWS_PER_PAGE: Final = 5_000
# Indexes find the open generations of an account, and those that ended without an image.
_INDEXED: Final = {None, *OPEN_STATUSES, Status.FAILED, Status.CANCELLED}


@dataclass(frozen=True, kw_only=True)
class Filters:
    """The conditions that each generation of a page meets. None stands for no condition.

    A generation was accepted at `since` or later, and before `until`. Its `metadata` has these names and values. The
    key or the person asked for it.
    """

    status: Status | None = None
    kind: Kind | None = None
    model: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    metadata: Mapping[str, str] | None = None
    api_key_id: int | None = None
    person_id: int | None = None

    def __bool__(self) -> bool:
        """Return whether there is a condition."""
        return any(value is not None for value in asdict(self).values())

    @property
    def has_more_than_status(self) -> bool:
        """Return whether there is a condition on what no index has."""
        return any(value is not None for value in self._unindexed)

    @property
    def _unindexed(self) -> tuple[object, ...]:
        return (self.kind, self.model, self.metadata, self.api_key_id, self.person_id)

    @property
    def has_time(self) -> bool:
        """Return whether there is a condition on the time of acceptance."""
        return self.since is not None or self.until is not None


class Position(NamedTuple):
    """The place of a generation in its account's history."""

    created_at: datetime
    number: int


class Page(NamedTuple):
    """Generations that match, and the id of the one before which more may follow, or None at the end."""

    generations: list[Generation]
    next_before: int | None


def find_position(*, account_id: int, generation_id: int) -> Position:
    """Return the place of the account's generation. Raise Generation.DoesNotExist, also for a foreign one."""
    mine = Generation.objects.filter(account_id=account_id)
    return Position(*mine.values_list("created_at", "number").get(pk=generation_id))


def find_page(*, account_id: int, total: int, filters: Filters, before: Position | None, limit: int) -> Page:
    """Return at most `limit` matching generations before this place, of the account's `total` generations.

    The order is that of the account's numbers, and with a condition on the time that of the times. A page of a rare
    kind may have fewer generations than `limit`, or none, while more follow.
    """
    mine = Generation.objects.filter(account_id=account_id)
    if filters.has_time:
        rows, last_number = _look_by_time(mine, filters, before)
    else:
        rows, last_number = _look_by_number(mine, filters, before.number if before else total + 1)
    wanted: dict[str, object] = {
        "status": filters.status,
        "kind": filters.kind,
        "model": filters.model,
        "api_key_id": filters.api_key_id,
        "person_id": filters.person_id,
        "parameters__contains": filters.metadata and {"metadata": dict(filters.metadata)},
    }
    found = list(rows.filter(**{name: value for name, value in wanted.items() if value})[: limit + 1])
    if len(found) > limit:
        return Page(found[:limit], found[limit - 1].pk)
    return Page(found, None if last_number is None else mine.get(number=last_number).pk)


def _look_by_number(
    mine: QuerySet[Generation], filters: Filters, before: int
) -> tuple[QuerySet[Generation], int | None]:
    """Return the rows to look at, newest first, and the number of the last one if others follow."""
    rows = mine.filter(number__lt=before).order_by("-number")
    # An account's numbers have no gap, so a range of numbers has as many rows.
    last_number = before - MAX_ROWS_PER_PAGE
    if last_number <= 1 or (filters.status in _INDEXED and not filters.has_more_than_status):
        return rows, None
    return rows.filter(number__gte=last_number), last_number


def _look_by_time(
    mine: QuerySet[Generation], filters: Filters, before: Position | None
) -> tuple[QuerySet[Generation], int | None]:
    """Do the same in the order of the times. Rows of the same time are in the order of their numbers."""
    rows = mine.order_by("-created_at", "-number")
    if filters.since:
        rows = rows.filter(created_at__gte=filters.since)
    if filters.until:
        rows = rows.filter(created_at__lt=filters.until)
    if before:
        rows = rows.filter(_compare("<", before), created_at__lte=before.created_at)
    if not filters.status and not filters.has_more_than_status:
        return rows, None
    # The index has both columns, so that this reads no row of the table.
    places = rows.values_list("created_at", "number")[MAX_ROWS_PER_PAGE - 1 : MAX_ROWS_PER_PAGE]
    last = next(iter(places), None)
    if last is None:
        return rows, None
    return rows.filter(_compare(">=", Position(*last)), created_at__gte=last[0]), last[1]


def _compare(operator: Literal["<", ">="], position: Position) -> RawSQL:
    """Return the comparison of a row's place with this one, in the form that an index of both columns serves.

    The planner cannot tell how many rows it leaves, so a condition on the time alone stands beside it.
    """
    return RawSQL(f"(created_at, number) {operator} (%s, %s)", position, BooleanField())  # noqa: S611 (an operator)
