"""Histories of an account at chosen times: what the clock of the database would have written at those times."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection

from billing import ledger
from billing.models import Account, LedgerEntry
from tests import factories
from tests.billing.tampering import tamper
from tests.processes import wait_until
from workers.lifecycle import generations
from workers.models import Generation, Status
from workers.usage import roll_up

_OPEN: Final = """
SELECT count(*) FROM workers_usageprogress, pg_snapshot_xip(pg_current_snapshot()) AS open(xid)
WHERE xid < pending_xid::text::xid8
"""


def roll_up_when_quiet(*, now: datetime, max_hours: int = roll_up.MAX_HOURS_A_ROUND) -> int:
    """Roll up, once no transaction is open that would delay it, such as one of PostgreSQL's own autovacuum."""
    roll_up.roll_up(max_hours=0, now=now)
    wait_until(_is_quiet)
    return roll_up.roll_up(max_hours=max_hours, now=now)


def _is_quiet() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(_OPEN)
        return not cursor.fetchone()[0]


class History:
    """An account whose entries get the times of the test. The calls must come in the order of the times."""

    def __init__(self, owner: Account, *, opened_at: datetime) -> None:
        self.owner = owner
        self._times: list[tuple[int, datetime]] = []
        self._note(opened_at)

    def end(
        self,
        at: datetime,
        *,
        status: Status = Status.COMPLETED,
        wait_seconds: float = 2.0,
        make_seconds: float = 1.0,
        width: int = 512,
        **fields: Any,
    ) -> Generation:
        """Make a generation that ends at this time, by its transitions."""
        started_at = at - timedelta(seconds=make_seconds)
        accepted_at = started_at - timedelta(seconds=wait_seconds)
        more = fields.pop("parameters", {})
        queued = factories.submit(
            self.owner,
            now=accepted_at,
            parameters=[{"width": width, "height": 512, "seed": 1, **more}],
            **fields,
        )
        self._note(accepted_at)
        if status == Status.CANCELLED:
            generations.cancel(generation=queued, error_type="service_busy", error_code="X", now=at)
        else:
            running = factories.claim(generation_id=queued.pk, now=started_at)
            if status == Status.COMPLETED:
                factories.finish(running, now=at)
            else:
                generations.fail(generation=running, **factories.ERROR, now=at)
        self._note(at)
        return Generation.objects.get(pk=queued.pk)

    def top_up(self, at: datetime, amount_micros: int = 1_000_000) -> None:
        """Add money at this time."""
        self._move(ledger.top_up, at, amount_micros)

    def refund(self, at: datetime, amount_micros: int = 1_000_000) -> None:
        """Take money out at this time."""
        self._move(ledger.refund, at, amount_micros)

    def write_times(self) -> None:
        """Write the times into the entries, as the owner of the tables could."""
        if self._times:
            values = ", ".join(f"({pk}, '{at.isoformat()}'::timestamptz)" for pk, at in self._times)
            tamper(
                f"UPDATE billing_ledgerentry e SET created_at = at FROM (VALUES {values}) AS told(id, at)"  # noqa: S608
                " WHERE e.id = told.id"
            )
        self._times = []

    def _move(self, move: Callable[..., LedgerEntry], at: datetime, amount_micros: int) -> None:
        move(account_id=self.owner.pk, amount_micros=amount_micros, actor="test", reason="test")
        self._note(at)

    def _note(self, at: datetime) -> None:
        newest = LedgerEntry.objects.filter(account=self.owner).order_by("-sequence").first()
        if newest is not None:
            self._times.append((newest.pk, at))
