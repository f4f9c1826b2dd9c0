"""Transitions of a generation's status: guarded UPDATEs along the edges of one table. Knows no money."""

from collections.abc import Sequence

from django.db import connection
from django.db.models import Q, QuerySet

from workers.models import Generation, Status

# The whole state machine: each status with its allowed successors.
NEXT: dict[Status, tuple[Status, ...]] = {
    Status.QUEUED: (Status.RUNNING, Status.CANCELLED, Status.FAILED),
    Status.RUNNING: (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.QUEUED),
    Status.COMPLETED: (),
    Status.FAILED: (),
    Status.CANCELLED: (),
}


def move(generation_id: int, source: Status, target: Status, *, guard: Q, **changes: object) -> bool:
    """Move one generation and return True. Return False if its status or the guard does not allow it."""
    return move_all(Q(guard, pk=generation_id), source, target, **changes) == 1


def move_all(guard: Q, source: Status, target: Status, **changes: object) -> int:
    """Move every generation that passes the guard, in one statement, and return their number.

    A move to any status but `running` ends the lease.
    """
    return _rows(guard, source).update(**_add_status(source, target, changes))


def lock_some(condition: Q, limit: int, *, first: str) -> Sequence[int]:
    """Lock at most `limit` oldest rows that no other sweep has locked, until the transaction ends; return their ids.

    The ids are sorted. `first` is the column of the condition's own index. With an order by id, the planner would
    read every generation ever made.
    """
    assert connection.in_atomic_block
    rows = Generation.objects.select_for_update(skip_locked=True).filter(condition).order_by(first)
    return sorted(rows.values_list("pk", flat=True)[:limit])


def _rows(guard: Q, source: Status) -> QuerySet[Generation]:
    return Generation.objects.filter(guard, status=source)


def _add_status(source: Status, target: Status, changes: dict[str, object]) -> dict[str, object]:
    assert target in NEXT[source], f"{source} → {target} is no transition"
    leased: dict[str, object] = {} if target == Status.RUNNING else {"lease_token": None, "lease_until": None}
    return {"status": target, **leased, **changes}
