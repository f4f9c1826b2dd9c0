"""C14: what waits does not slow down what is done with it: a long queue, and one of very many tenants.

A is what one writes first: the oldest that is queued, locked by `select_for_update` and saved, and a `COUNT(*)` of what
is open. B is a worker's claim, the admission of a hundred requests in a second, a submission, and a round of the sweep.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Final

from django.db import connection, transaction

from bench.benchmark import Benchmark, Figure, Round, Samples, cost
from billing import ledger
from workers.catalogue import DEFAULT_MODEL
from workers.lifecycle import admission, generations, recovery
from workers.lifecycle.submission import Submission
from workers.messaging import worker_registry
from workers.models import OPEN_STATUSES, Generation, Kind, Status

TIMES: Final = 10
REQUESTS_A_SECOND: Final = 100
WORKER: Final = "benchmark depth"
# So fast that the longest queue here is just short enough to be let in: its every row is counted.
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
def _ready(few: tuple[int, int], many: tuple[int, int]) -> Iterator[Round]:
    try:
        yield partial(_measure, few, many)
    finally:
        worker_registry.leave(worker_name=WORKER)


def _measure(few: tuple[int, int], many: tuple[int, int], b_first: bool) -> Samples:
    seconds = {}
    for scene in (few, many):
        _fill(*scene)
        seconds[scene] = _seconds_of_each(b_first)
    growth = {name: seconds[many][name] / seconds[few][name] for name in seconds[few]}
    return {
        "A": seconds[many]["claim of A"],
        "B": seconds[many]["claim"],
        **{
            f"{name.removesuffix(' of A')}'s growth{' of A' * name.endswith(' of A')}": growth[name]
            for name in growth
        },
    }


def _seconds_of_each(b_first: bool) -> dict[str, float]:
    owner = ledger.open_account(
        name=f"benchmark depth {next(_names)}", opening_micros=10**10, actor="benchmark"
    ).pk
    works: list[tuple[str, Callable[[], float]]] = [
        ("claim of A", _claims_as_usual),
        ("claim", _claims),
        ("admission of A", _counts),
        ("admission", _admissions),
        ("submission", partial(_wall, partial(_submit, owner))),
        ("sweep", partial(_wall, recovery.run)),
    ]
    return {name: work() for name, work in (reversed(works) if b_first else works)}


def _wall(work: Callable[[], object]) -> float:
    # The usual one: a single call that waits for the disk would be the whole mean.
    return statistics.median(cost(work, clock=time.perf_counter) for _ in range(TIMES))


def _claims() -> float:
    claimed: list[Generation] = []
    seconds = _wall(lambda: claimed.append(generations.claim_next(models={DEFAULT_MODEL})))
    generations.put_back(lease_tokens=[one.lease_token for one in claimed if one.lease_token])
    return seconds


def _claims_as_usual() -> float:
    with transaction.atomic():
        seconds = _wall(_claim_as_usual)
        transaction.set_rollback(True)
    return seconds


def _claim_as_usual() -> None:
    queued = Generation.objects.filter(status=Status.QUEUED).order_by("created_at")
    oldest = queued.select_for_update(skip_locked=True).first()
    assert oldest is not None
    oldest.attempt_count += 1
    oldest.save()


def _counts() -> float:
    return _wall(Generation.objects.filter(status__in=OPEN_STATUSES).count)


def _admissions() -> float:
    worker_registry.show(worker_name=WORKER, seconds_per_image=SECONDS_PER_IMAGE)
    # What an earlier second has counted is forgotten by then.
    time.sleep(admission.FRESH_SECONDS)
    admit = partial(admission.refuse_if_too_long, model_name=DEFAULT_MODEL, limit_seconds=WAIT_SECONDS)
    return cost(admit, clock=time.perf_counter, times=REQUESTS_A_SECOND)


def _submit(account_id: int) -> None:
    submission = Submission(
        account_id=account_id,
        kind=Kind.CREATE,
        model=DEFAULT_MODEL,
        prompt="A serene mountain landscape at golden hour",
        parameters={"width": 1024, "height": 1024, "seed": 1},
        quote_micros=26_700,
    )
    # Without the end of the transaction no hint is sent, which another benchmark measures.
    with transaction.atomic():
        generations.submit(submission=submission, open_limit=10**6)
        transaction.set_rollback(True)


def _fill(tenants: int, each: int) -> None:
    """So many tenants, of whom each waits for so many."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE workers_generation CASCADE")
        cursor.execute(
            _FILL, {"tenants": tenants, "each": each, "model": DEFAULT_MODEL, "name": str(next(_names))}
        )
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _depth(name: str, a: str, few: tuple[int, int], many: tuple[int, int]) -> Benchmark:
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
        ready=partial(_ready, few, many),
        needs_database=True,
    )


BENCHMARKS = (
    _depth("depth", "10 and then 100,000 in the queue", (1, 10), (1, 100_000)),
    _depth("tenants", "10 and then 10,000 tenants who wait for ten each", (10, 10), (10_000, 10)),
)
