"""C9: the money of one generation, held and then settled.

A is the usual way: two transactions, and in each the rows are read by `select_for_update`, checked in Python and
saved, and an entry is written. B is `billing.holds`. Both keep the same tables under the same constraints, refuse
the same things, and leave the same balances. Four threads of one process work on accounts of their own, or all on
one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from django.db import transaction
from django.utils import timezone

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.threads import measure_together
from billing import holds, ledger
from billing.models import Account, LedgerEntry, Reservation
from storage.postgresql import plain_sql

THREADS: Final = 4
GENERATIONS_A_THREAD: Final = 40
QUOTE_MICROS: Final = 26_700
OPENING_MICROS: Final = 10**12

_HOLD: Final = f"WITH {holds.PAYER}, {holds.hold()} SELECT reservation_id FROM hold"  # noqa: S608
_SETTLE: Final = f"""
WITH held AS (SELECT %(reservation_id)s::bigint AS reservation_id), {holds.settle(after="held")}
SELECT reservation_id FROM entry
"""  # noqa: S608
_names = count(1)


def hold_and_settle_as_usual(account_id: int) -> None:
    """Hold and settle in the usual way."""
    with transaction.atomic():
        account = Account.objects.select_for_update().get(pk=account_id)
        if account.status != Account.Status.ACTIVE:
            raise holds.AccountSuspended
        if account.available_micros < QUOTE_MICROS:
            raise ledger.InsufficientBalance
        reservation = Reservation.objects.create(account=account, quote_micros=QUOTE_MICROS)
        account.reserved_micros += QUOTE_MICROS
        account.hold_count += 1
        account.open_hold_count += 1
        _save(account, reservation, LedgerEntry.Kind.HOLD)
    with transaction.atomic():
        reservation = Reservation.objects.select_for_update().get(pk=reservation.pk)
        if reservation.resolution != Reservation.Resolution.OPEN:
            raise holds.AlreadyResolved
        account = Account.objects.select_for_update().get(pk=account_id)
        reservation.resolution = Reservation.Resolution.SETTLED
        reservation.settled_micros = QUOTE_MICROS
        reservation.resolved_at = timezone.now()
        reservation.save()
        account.reserved_micros -= QUOTE_MICROS
        account.balance_micros -= QUOTE_MICROS
        account.spent_micros += QUOTE_MICROS
        account.settlement_count += 1
        account.open_hold_count -= 1
        _save(account, reservation, LedgerEntry.Kind.SETTLE)


def hold_and_settle(account_id: int) -> None:
    """Hold and settle by the statements of `billing.holds`, without the rows that they pay for."""
    [(reservation_id,)] = plain_sql.execute(
        _HOLD, holds.hold_values(account_id=account_id, quote_micros=QUOTE_MICROS)
    )
    values = {"reservation_id": reservation_id, **holds.settle_values(cost_micros=QUOTE_MICROS)}
    assert plain_sql.execute(_SETTLE, values)


def _save(account: Account, reservation: Reservation, kind: LedgerEntry.Kind) -> None:
    account.entry_count += 1
    account.save()
    LedgerEntry.objects.create(
        account=account,
        sequence=account.entry_count,
        kind=kind,
        amount_micros=QUOTE_MICROS,
        balance_after_micros=account.balance_micros,
        reserved_after_micros=account.reserved_micros,
        reservation=reservation,
    )


@contextmanager
def _prepare_spread() -> Iterator[Round]:
    yield _build_round([_open_account() for _ in range(THREADS)], [_open_account() for _ in range(THREADS)])


@contextmanager
def _prepare_hot() -> Iterator[Round]:
    yield _build_round([_open_account()] * THREADS, [_open_account()] * THREADS)


def _open_account() -> int:
    name = f"benchmark {next(_names)}"
    return ledger.open_account(name=name, opening_micros=OPENING_MICROS, actor="benchmark").pk


def _build_round(accounts_a: Sequence[int], accounts_b: Sequence[int]) -> Round:
    def measure(b_first: bool) -> Samples:
        seconds = {}
        for side in "BA" if b_first else "AB":
            work, accounts = (
                (hold_and_settle_as_usual, accounts_a) if side == "A" else (hold_and_settle, accounts_b)
            )
            works = [partial(_repeat, work, account) for account in accounts]
            seconds[side] = measure_together(works) / (THREADS * GENERATIONS_A_THREAD)
        assert _read_totals(accounts_a) == _read_totals(accounts_b)
        return {**seconds, "ratio": seconds["A"] / seconds["B"]}

    return measure


def _repeat(work: Callable[[int], None], account_id: int) -> None:
    for _ in range(GENERATIONS_A_THREAD):
        work(account_id)


def _read_totals(account_ids: Sequence[int]) -> list[tuple[int, ...]]:
    fields = (
        "balance_micros",
        "reserved_micros",
        "spent_micros",
        "settlement_count",
        "entry_count",
        "hold_count",
    )
    return sorted(Account.objects.filter(pk__in=account_ids).values_list(*fields))


BENCHMARKS: Final = (
    Benchmark(
        code="C9",
        name="ledger",
        a="hold and settle by select_for_update in two transactions, four threads with an account each",
        b="the same by billing.ledger",
        clock="wall",
        figures=(Figure(name="ratio", at_least=2, aim=3),),
        prepare=_prepare_spread,
        needs_database=True,
    ),
    Benchmark(
        code="C9",
        name="ledger-hot",
        a="hold and settle by select_for_update in two transactions, four threads on one account",
        b="the same by billing.ledger",
        clock="wall",
        figures=(Figure(name="ratio", at_least=2.5, aim=3),),
        prepare=_prepare_hot,
        needs_database=True,
    ),
)
