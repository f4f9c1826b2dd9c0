"""How a generation changes its status: by guarded UPDATEs, along the edges of one table. Knows no money."""

from collections.abc import Sequence

from django.db import connection
from django.db.models import Q, QuerySet

from storage import statements
from storage.statements import Statement
from workers.models import Generation, Status

# The whole machine: what may follow what.
NEXT: dict[Status, tuple[Status, ...]] = {
    Status.QUEUED: (Status.RUNNING, Status.CANCELLED, Status.FAILED),
    Status.RUNNING: (Status.COMPLETED, Status.FAILED, Status.QUEUED),
    Status.COMPLETED: (),
    Status.FAILED: (),
    Status.CANCELLED: (),
}


def move(generation_id: int, source: Status, target: Status, *, guard: Q, **changes: object) -> bool:
    """Moves one generation, and says whether it did: False when its status or the guard said no."""
    return move_all(Q(guard, pk=generation_id), source, target, **changes) == 1


def move_all(guard: Q, source: Status, target: Status, **changes: object) -> int:
    """Moves whatever passes the guard, in one statement; says how many. Outside `running` nobody has a lease."""
    return _rows(guard, source).update(**_with_status(source, target, changes))


def moving(
    guard: Q, source: Status, target: Status, *, may_be_lost: bool = False, **changes: object
) -> Statement[Generation]:
    """The statement that moves the one generation which the guard names, and gives it as it is then. What may be lost
    is a transaction of its own, and does not wait for the disk.
    """
    return statements.update(
        _rows(guard, source), _with_status(source, target, changes), may_be_lost=may_be_lost
    )


def lock_some(condition: Q, limit: int, *, first: str) -> Sequence[int]:
    """The ids of those that no other sweep is working on, oldest first, locked until the transaction ends. `first`
    is the order of the condition's own index: by id, the planner would rather look at every generation that there
    ever was.
    """
    assert connection.in_atomic_block
    rows = Generation.objects.select_for_update(skip_locked=True).filter(condition).order_by(first)
    return sorted(rows.values_list("pk", flat=True)[:limit])


def _rows(guard: Q, source: Status) -> QuerySet[Generation]:
    return Generation.objects.filter(guard, status=source)


def _with_status(source: Status, target: Status, changes: dict[str, object]) -> dict[str, object]:
    assert target in NEXT[source], f"{source} → {target} is no transition"
    leased: dict[str, object] = {} if target == Status.RUNNING else {"lease_token": None, "lease_until": None}
    return {"status": target, **leased, **changes}
