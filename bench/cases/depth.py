"""C14: a long queue, and a queue of very many tenants, do not slow down the work on it.

A is the usual first version: the oldest queued row, locked by `select_for_update` and saved, and a `COUNT(*)` of open
rows. B is a worker's claim, the admission of a hundred requests in a second, a submission, and a round of the sweep.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from django.db import connection, transaction

from bench.benchmark import Benchmark, Figure, Round, Samples, measure_cost
from billing import ledger
from workers.catalogue import DEFAULT_MODEL
from workers.lifecycle import admission, generations, queue_readings, recovery
from workers.lifecycle.submission import Submission
from workers.messaging import worker_registry
from workers.models import OPEN_STATUSES, Generation, Kind, Status

TIMES: Final = 10
REQUESTS_A_SECOND: Final = 100
WORKER: Final = "benchmark depth"
# At this speed the longest queue here is just short enough to be admitted, so every row is counted.
SECONDS_PER_IMAGE: Final = 0.0009
WAIT_SECONDS: Final = 100

_FILL: Final = """
WITH account AS (
    INSERT INTO billing_account (name, status, balance_micros, reserved_micros, spent_micros, settlement_count,
        hold_count, open_hold_count, entry_count)
    SELECT format('benchmark depth %%s of %%s', n, %(name)s), 'active', 10000000000, 26700::bigint * %(each)s, 0, 0,
        %(each)s, %(each)s, 0
    FROM generate_series(1, %(tenants)s) AS n
    RETURNING id
), reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution)
    SELECT id, 26700, '' FROM account, generate_series(1, %(each)s) RETURNING id, account_id
)
INSERT INTO workers_generation
    (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, turn_at,
     not_before, deadline_at, created_at, hinted_at, error_code, error_type, error_detail)
SELECT account_id, number, id, 'create', %(model)s, 'A serene mountain landscape at golden hour',
    '{"width": 1024, "height": 1024, "seed": 1}', 26700, 'queued', 0, now() + number * interval '5 seconds',
    now(), now() + interval '1 day', now(), now() + interval '1 hour', '', '', ''
FROM (SELECT *, row_number() OVER (PARTITION BY account_id ORDER BY id) AS number FROM reservation) AS numbered
"""

_names = count(1)


@contextmanager
def _prepare(few: tuple[int, int], many: tuple[int, int]) -> Iterator[Round]:
    try:
        yield partial(_measure, few, many)
    finally:
        worker_registry.remove(worker_name=WORKER)


def _measure(few: tuple[int, int], many: tuple[int, int], b_first: bool) -> Samples:
    seconds = {}
    for queue in (few, many):
        _fill(*queue)
        seconds[queue] = _measure_each(b_first)
    growth = {name: seconds[many][name] / seconds[few][name] for name in seconds[few]}
    return {
        "A": seconds[many]["claim of A"],
        "B": seconds[many]["claim"],
        **{
            f"{name.removesuffix(' of A')}'s growth{' of A' * name.endswith(' of A')}": growth[name]
            for name in growth
        },
    }


def _measure_each(b_first: bool) -> dict[str, float]:
    owner = ledger.open_account(
        name=f"benchmark depth {next(_names)}", opening_micros=10**10, actor="benchmark"
    ).pk
    works: list[tuple[str, Callable[[], float]]] = [
        ("claim of A", _measure_usual_claims),
        ("claim", _measure_claims),
        ("admission of A", _measure_count),
        ("admission", _measure_admissions),
        ("submission", partial(_measure_median, partial(_submit, owner))),
        ("sweep", partial(_measure_median, recovery.sweep)),
    ]
    return {name: work() for name, work in (reversed(works) if b_first else works)}


def _measure_median(work: Callable[[], object]) -> float:
    # A single call that waits for the disk would dominate the mean.
    return statistics.median(measure_cost(work, clock=time.perf_counter) for _ in range(TIMES))


def _measure_claims() -> float:
    claimed: list[Generation] = []
    seconds = _measure_median(lambda: claimed.append(generations.claim_next(models={DEFAULT_MODEL})))
    generations.put_back(lease_tokens=[one.lease_token for one in claimed if one.lease_token])
    return seconds


def _measure_usual_claims() -> float:
    with transaction.atomic():
        seconds = _measure_median(_claim_as_usual)
        transaction.set_rollback(True)
    return seconds


def _claim_as_usual() -> None:
    queued = Generation.objects.filter(status=Status.QUEUED).order_by("created_at")
    oldest = queued.select_for_update(skip_locked=True).first()
    assert oldest is not None
    oldest.attempt_count += 1
    oldest.save()


def _measure_count() -> float:
    return _measure_median(Generation.objects.filter(status__in=OPEN_STATUSES).count)


def _measure_admissions() -> float:
    worker_registry.publish(worker_name=WORKER, seconds_per_image=SECONDS_PER_IMAGE)
    # The counts of an earlier second are stale by then.
    time.sleep(queue_readings.FRESH_SECONDS)
    admit = partial(admission.refuse_if_too_long, model_name=DEFAULT_MODEL, limit_seconds=WAIT_SECONDS)
    return measure_cost(admit, clock=time.perf_counter, times=REQUESTS_A_SECOND)


def _submit(account_id: int) -> None:
    submission = Submission(
        account_id=account_id,
        kind=Kind.CREATE,
        model=DEFAULT_MODEL,
        prompt="A serene mountain landscape at golden hour",
        parameters=[{"width": 1024, "height": 1024, "seed": 1}],
        quote_micros=26_700,
    )
    # Without a COMMIT, no message is sent. Another benchmark measures messages.
    with transaction.atomic():
        generations.submit(submission=submission, open_limit=10**6)
        transaction.set_rollback(True)


def _fill(tenants: int, each: int) -> None:
    """Fill the queue with `each` generations of each of the tenants."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE workers_generation CASCADE")
        cursor.execute(
            _FILL, {"tenants": tenants, "each": each, "model": DEFAULT_MODEL, "name": str(next(_names))}
        )
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _build_benchmark(name: str, a: str, few: tuple[int, int], many: tuple[int, int]) -> Benchmark:
    ours = ("claim", "admission", "submission", "sweep")
    return Benchmark(
        code="C14",
        name=name,
        a=f"the oldest claimed by select_for_update, and what is open counted, with {a}",
        b="claimed, admitted, submitted and swept by workers",
        clock="wall",
        figures=(
            *(Figure(name=f"{what}'s growth", at_least=2, aim=1.3, lower_is_better=True) for what in ours),
            Figure(name="claim's growth of A"),
            Figure(name="admission's growth of A"),
        ),
        prepare=partial(_prepare, few, many),
        needs_database=True,
    )


BENCHMARKS: Final = (
    _build_benchmark("depth", "10 and then 100,000 in the queue", (1, 10), (1, 100_000)),
    _build_benchmark("tenants", "10 and then 10,000 tenants who wait for ten each", (10, 10), (10_000, 10)),
)
