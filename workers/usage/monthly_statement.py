"""The statement of an account's month: what it had, paid in, got back and spent. Writes nothing.

A statement exists once its month is rolled up. Then no entry of the month can follow, and it never changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from django.conf import settings
from django.template.loader import render_to_string
from django.templatetags.static import static

from billing import spreadsheet
from billing.models import Account, LedgerEntry
from billing.money import format_usd
from storage.postgresql import plain_sql
from workers.usage import entry_times, roll_up

_DAYS: Final = """
SELECT (hour AT TIME ZONE 'UTC')::date, model, sum(completed)::bigint, sum(cost_micros)::bigint
FROM workers_usagehour
WHERE account_id = %(account_id)s AND hour >= %(start)s AND hour < %(end)s AND completed > 0
GROUP BY 1, 2 ORDER BY 1, 2
"""
_MINUS: Final = "\N{MINUS SIGN}"
# Date, kind, model, number of images, amount and balance of a line of the CSV file.
_Line = tuple[str, str, str, int | None, str | None, str | None]


class NotClosed(Exception):
    """The month has not ended, or is not rolled up yet."""


class BeforeAccount(Exception):
    """The account was opened after this month."""


class DoesNotAddUp(Exception):
    """The movements of the month do not lead from its opening to its closing balance."""


@dataclass(frozen=True, kw_only=True)
class Movement:
    """A credit or a refund. `entry` is its place in the account's ledger."""

    entry: int
    at: datetime
    kind: str
    amount_micros: int


@dataclass(frozen=True, kw_only=True)
class DayOfModel:
    """The images that a model made on one day in UTC, and their cost."""

    day: date
    model: str
    image_count: int
    cost_micros: int


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The statement of one month in UTC. All amounts are positive."""

    account: Account
    start: datetime
    end: datetime
    opening_micros: int
    closing_micros: int
    movements: Sequence[Movement]
    days: Sequence[DayOfModel]

    @property
    def credits_micros(self) -> int:
        """The amount that was paid in."""
        return sum(moved.amount_micros for moved in self.movements if moved.kind == LedgerEntry.Kind.CREDIT)

    @property
    def refunds_micros(self) -> int:
        """The amount that was paid back."""
        return sum(moved.amount_micros for moved in self.movements if moved.kind == LedgerEntry.Kind.REFUND)

    @property
    def image_count(self) -> int:
        """The number of images that were made."""
        return sum(line.image_count for line in self.days)

    @property
    def spent_micros(self) -> int:
        """The cost of all images."""
        return sum(line.cost_micros for line in self.days)


def make(*, account: Account, year: int, month: int) -> Statement:
    """Return the statement. Raise NotClosed, BeforeAccount, DoesNotAddUp, or ValueError for a month that is none."""
    start = datetime(year, month, 1, tzinfo=UTC)
    end = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    if end <= account.created_at:
        raise BeforeAccount
    closed_until = roll_up.read_closed_until()
    if closed_until is None or closed_until < end:
        raise NotClosed
    opening, closing = (entry_times.read_balance(account_id=account.pk, at=at) for at in (start, end))
    statement = Statement(
        account=account,
        start=start,
        end=end,
        opening_micros=opening,
        closing_micros=closing,
        movements=_movements(account.pk, start, end),
        days=_days(account.pk, start, end),
    )
    moved = statement.credits_micros - statement.refunds_micros - statement.spent_micros
    if opening + moved != closing:
        raise DoesNotAddUp(
            f"account {account.pk}, {start:%Y-%m}: {opening} and {moved} micros are not {closing}"
        )
    return statement


def list_months(*, account: Account) -> list[date]:
    """Return the first day of each month of which there is a statement, newest first."""
    closed_until = roll_up.read_closed_until()
    if closed_until is None:
        return []
    opened_at = account.created_at.astimezone(UTC)
    count = 12 * (closed_until.year - opened_at.year) + closed_until.month - opened_at.month
    numbers = (opened_at.month - 1 + index for index in reversed(range(count)))
    return [date(opened_at.year + number // 12, number % 12 + 1, 1) for number in numbers]


def write_csv(statement: Statement) -> bytes:
    """Return the statement as CSV: opening balance, movements by date, closing balance. A kind gives the direction."""
    last_day = (statement.end - timedelta(days=1)).date()
    lines: list[_Line] = [
        (
            moved.at.astimezone(UTC).date().isoformat(),
            moved.kind,
            "",
            None,
            format_usd(moved.amount_micros),
            None,
        )
        for moved in statement.movements
    ]
    lines += [
        (line.day.isoformat(), "settle", line.model, line.image_count, format_usd(line.cost_micros), None)
        for line in statement.days
    ]
    opening, closing = format_usd(statement.opening_micros), format_usd(statement.closing_micros)
    return spreadsheet.write(
        [
            ("date", "kind", "model", "images", "amount", "balance"),
            (statement.start.date().isoformat(), "opening_balance", "", None, None, opening),
            *sorted(lines, key=lambda line: line[0]),
            (last_day.isoformat(), "closing_balance", "", statement.image_count, None, closing),
        ]
    )


def write_html(statement: Statement) -> str:
    """Return the statement as a page to print, whose stylesheet is at the address of the service."""
    stylesheet = f"{settings.PUBLIC_URL}{static('workers/statement.css')}"
    movements = [
        (
            moved.at.astimezone(UTC).date().isoformat(),
            moved.entry,
            moved.kind,
            _subtracted(moved.amount_micros)
            if moved.kind == LedgerEntry.Kind.REFUND
            else format_usd(moved.amount_micros),
        )
        for moved in statement.movements
    ]
    days = [
        (line.day.isoformat(), line.model, line.image_count, format_usd(line.cost_micros))
        for line in statement.days
    ]
    context = {
        "stylesheet": stylesheet,
        "account": statement.account,
        "month": f"{statement.start:%Y-%m}",
        "image_count": statement.image_count,
        "movements": movements,
        "days": days,
        "opening": format_usd(statement.opening_micros),
        "credits": format_usd(statement.credits_micros),
        "refunds": _subtracted(statement.refunds_micros),
        "spent": _subtracted(statement.spent_micros),
        "cost": format_usd(statement.spent_micros),
        "closing": format_usd(statement.closing_micros),
    }
    return render_to_string("workers/statement.html", context)


def _movements(account_id: int, start: datetime, end: datetime) -> list[Movement]:
    first, stop = entry_times.find_sequences(account_id=account_id, start=start, end=end)
    entries = LedgerEntry.objects.filter(
        account_id=account_id,
        kind__in=[LedgerEntry.Kind.CREDIT, LedgerEntry.Kind.REFUND],
        sequence__gte=first,
        created_at__gte=start,
        created_at__lt=end,
    )
    if stop is not None:
        entries = entries.filter(sequence__lt=stop)
    columns = entries.order_by("sequence").values_list("sequence", "created_at", "kind", "amount_micros")
    return [
        Movement(entry=sequence, at=at, kind=kind, amount_micros=amount_micros)
        for sequence, at, kind, amount_micros in columns
    ]


def _days(account_id: int, start: datetime, end: datetime) -> list[DayOfModel]:
    rows = plain_sql.execute(_DAYS, {"account_id": account_id, "start": start, "end": end})
    return [
        DayOfModel(day=day, model=model, image_count=image_count, cost_micros=cost_micros)
        for day, model, image_count, cost_micros in rows
    ]


def _subtracted(micros: int) -> str:
    return (_MINUS if micros else "") + format_usd(micros)
