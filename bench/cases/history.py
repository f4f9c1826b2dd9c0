"""C10: a page of an account's history and its balance, as the account grows.

A is what one writes first, `OFFSET … LIMIT` and `COUNT(*)`, with an index for it. B is `queries.page`. Both
read the account too, and are asked for the first page and for the last, of an account with 1,000 generations and of one
with many.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from django.db import connection

from bench.benchmark import Benchmark, Figure, Round, Samples, cost
from billing import ledger
from billing.models import Account
from workers.lifecycle import queries
from workers.models import Generation

FEW = 1_000
PAGE_ROWS = 20
TIMES = 5

# What failed was free, so that neither images nor entries of the ledger are needed.
_INSERT = """
WITH reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution, resolved_at)
    SELECT %(account)s, 26700, 'released', now() FROM generate_series(1, %(count)s)
    RETURNING id
)
INSERT INTO workers_generation
    (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, turn_at,
     not_before, deadline_at, created_at, ended_at, error_code, error_type, error_detail)
SELECT %(account)s, row_number() OVER (ORDER BY id), id, 'create', 'zekron-image-1',
    'A serene mountain landscape at golden hour', '{"width": 1024, "height": 1024, "seed": 1}', 26700, 'failed', 1,
    now(), now(), now(), now(), now(), '', '', ''
FROM reservation
"""

# Ours needs none but the unique one of an account's numbers.
_INDEX_OF_A = "CREATE INDEX IF NOT EXISTS bench_history ON workers_generation (account_id, id DESC)"

Page = tuple[list[Generation], int]


def usual(*, account_id: int, offset: int) -> Page:
    """The account, a page and how many rows there are, as a paginator asks for them."""
    mine = Generation.objects.filter(account=Account.objects.get(pk=account_id))
    return list(mine.order_by("-pk")[offset : offset + PAGE_ROWS]), mine.count()


def ours(*, account_id: int, offset: int) -> Page:
    """The same as the view asks for it."""
    total = Account.objects.get(pk=account_id).hold_count
    return queries.page(account_id=account_id, total=total, limit=PAGE_ROWS, offset=offset), total


@contextmanager
def _ready(many: int) -> Iterator[Round]:
    few_id, many_id = _account("few", FEW), _account("many", many)
    with connection.cursor() as cursor:
        cursor.execute(_INDEX_OF_A)
        cursor.execute("VACUUM ANALYZE")
    for offset in (0, FEW // 2, FEW - PAGE_ROWS):
        assert usual(account_id=few_id, offset=offset) == ours(account_id=few_id, offset=offset)
    yield partial(_measure, few_id, many_id, many)


def _measure(few_id: int, many_id: int, many: int, b_first: bool) -> Samples:
    seconds = {}
    for page in (ours, usual) if b_first else (usual, ours):
        for account_id, rows in ((few_id, FEW), (many_id, many)):
            seconds[page, "first", rows] = _seconds(partial(page, account_id=account_id, offset=0))
            last = rows - PAGE_ROWS
            seconds[page, "last", rows] = _seconds(partial(page, account_id=account_id, offset=last))
    balance = [_seconds(partial(Account.objects.get, pk=account_id)) for account_id in (few_id, many_id)]
    return {
        "A": seconds[usual, "first", many],
        "B": seconds[ours, "first", many],
        "first page's growth": seconds[ours, "first", many] / seconds[ours, "first", FEW],
        "last page's growth": seconds[ours, "last", many] / seconds[ours, "last", FEW],
        "balance's growth": balance[1] / balance[0],
        "first page's growth of A": seconds[usual, "first", many] / seconds[usual, "first", FEW],
        "last page's growth of A": seconds[usual, "last", many] / seconds[usual, "last", FEW],
    }


def _seconds(ask: Callable[[], object]) -> float:
    return cost(ask, clock=time.perf_counter, times=TIMES)


def _account(name: str, count: int) -> int:
    """An account with so many generations."""
    account_id = ledger.open_account(name=f"{name} {count}", opening_micros=0, actor="benchmark").pk
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"account": account_id, "count": count})
    Account.objects.filter(pk=account_id).update(hold_count=count)
    return account_id


def _growth(name: str) -> Figure:
    return Figure(name=name, at_least=2, aim=1.3, lower_is_better=True)


def _history(name: str, many: int, *, large: bool) -> Benchmark:
    return Benchmark(
        code="C10",
        name=name,
        a=f"pages of 20 by OFFSET and COUNT, and a balance, from {FEW:,} rows to {many:,}",
        b="the same by workers.lifecycle.queries",
        clock="wall",
        figures=(
            _growth("first page's growth"),
            _growth("last page's growth"),
            _growth("balance's growth"),
            Figure(name="first page's growth of A"),
            Figure(name="last page's growth of A"),
        ),
        ready=partial(_ready, many),
        needs_database=True,
        large=large,
    )


BENCHMARKS = (_history("history", 1_000_000, large=False), _history("history-large", 10_000_000, large=True))
