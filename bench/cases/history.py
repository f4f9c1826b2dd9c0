"""C10: a page of an account's history and its balance, as the account grows.

A is the usual first version, `OFFSET … LIMIT` and `COUNT(*)`, with an index for it. B is `queries.get_page`. Both also
read the account. Both are asked for the first page and for the last one, of accounts with 1,000 generations and with
many.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from django.db import connection

from bench.benchmark import Benchmark, Figure, Round, Samples, measure_cost
from billing import ledger
from billing.models import Account
from workers.lifecycle import queries
from workers.models import Generation

FEW: Final = 1_000
PAGE_ROWS: Final = 20
TIMES: Final = 5

# Failed generations are free, so they need neither images nor ledger entries.
_INSERT: Final = """
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

# B needs only the unique index of an account's numbers.
_INDEX_OF_A: Final = "CREATE INDEX IF NOT EXISTS bench_history ON workers_generation (account_id, id DESC)"

Page = tuple[list[Generation], int]


def fetch_usual_page(*, account_id: int, offset: int) -> Page:
    """Return a page and the number of rows, as a paginator asks for them."""
    mine = Generation.objects.filter(account=Account.objects.get(pk=account_id))
    return list(mine.order_by("-pk")[offset : offset + PAGE_ROWS]), mine.count()


def fetch_page(*, account_id: int, offset: int) -> Page:
    """Return the same as the view asks for it."""
    total = Account.objects.get(pk=account_id).hold_count
    return queries.get_page(account_id=account_id, total=total, limit=PAGE_ROWS, offset=offset), total


@contextmanager
def _prepare(many: int) -> Iterator[Round]:
    few_id, many_id = _open_account("few", FEW), _open_account("many", many)
    with connection.cursor() as cursor:
        cursor.execute(_INDEX_OF_A)
        cursor.execute("VACUUM ANALYZE")
    for offset in (0, FEW // 2, FEW - PAGE_ROWS):
        assert fetch_usual_page(account_id=few_id, offset=offset) == fetch_page(
            account_id=few_id, offset=offset
        )
    yield partial(_measure, few_id, many_id, many)


def _measure(few_id: int, many_id: int, many: int, b_first: bool) -> Samples:
    seconds = {}
    for page in (fetch_page, fetch_usual_page) if b_first else (fetch_usual_page, fetch_page):
        for account_id, rows in ((few_id, FEW), (many_id, many)):
            seconds[page, "first", rows] = _time(partial(page, account_id=account_id, offset=0))
            last = rows - PAGE_ROWS
            seconds[page, "last", rows] = _time(partial(page, account_id=account_id, offset=last))
    balance = [_time(partial(Account.objects.get, pk=account_id)) for account_id in (few_id, many_id)]
    return {
        "A": seconds[fetch_usual_page, "first", many],
        "B": seconds[fetch_page, "first", many],
        "first page's growth": seconds[fetch_page, "first", many] / seconds[fetch_page, "first", FEW],
        "last page's growth": seconds[fetch_page, "last", many] / seconds[fetch_page, "last", FEW],
        "balance's growth": balance[1] / balance[0],
        "first page's growth of A": seconds[fetch_usual_page, "first", many]
        / seconds[fetch_usual_page, "first", FEW],
        "last page's growth of A": seconds[fetch_usual_page, "last", many]
        / seconds[fetch_usual_page, "last", FEW],
    }


def _time(ask: Callable[[], object]) -> float:
    return measure_cost(ask, clock=time.perf_counter, times=TIMES)


def _open_account(name: str, count: int) -> int:
    """Open an account with this many generations."""
    account_id = ledger.open_account(name=f"{name} {count}", opening_micros=0, actor="benchmark").pk
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, {"account": account_id, "count": count})
    Account.objects.filter(pk=account_id).update(hold_count=count)
    return account_id


def _build_growth_figure(name: str) -> Figure:
    return Figure(name=name, at_least=2, aim=1.3, lower_is_better=True)


def _build_benchmark(name: str, many: int, *, large: bool) -> Benchmark:
    return Benchmark(
        code="C10",
        name=name,
        a=f"pages of 20 by OFFSET and COUNT, and a balance, from {FEW:,} rows to {many:,}",
        b="the same by workers.lifecycle.queries",
        clock="wall",
        figures=(
            _build_growth_figure("first page's growth"),
            _build_growth_figure("last page's growth"),
            _build_growth_figure("balance's growth"),
            Figure(name="first page's growth of A"),
            Figure(name="last page's growth of A"),
        ),
        prepare=partial(_prepare, many),
        needs_database=True,
        large=large,
    )


BENCHMARKS: Final = (
    _build_benchmark("history", 1_000_000, large=False),
    _build_benchmark("history-large", 10_000_000, large=True),
)
