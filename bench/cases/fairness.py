"""C8: the wait of one generation behind 1,000 of another account, in units of one image's time.

Nothing is made. In each step every worker claims one generation, all at once, and a step stands for an image's time.
A claims in the order of acceptance. B is `generations.claim_next`. All generations have the turns that
`generations.submit` would give them: each open generation of an account delays its next one by `TURN_SECONDS`. An
account that comes a minute later therefore has a minute's turns of the flood before it, if they still wait.

A waits for the whole flood and B for none of it, so a longer flood would say the same. The speed of a claim in a long
queue is C14's.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from typing import Final

from django.db import connection, connections, transaction

from bench.benchmark import Benchmark, Figure, Round, Samples
from billing.models import Account
from workers.lifecycle import generations, submission
from workers.models import Generation, Status

FLOOD: Final = 1_000
WORKERS: Final = 4
QUOTE_MICROS: Final = 26_700

_INSERT: Final = """
WITH reservation AS (
    INSERT INTO billing_reservation (account_id, quote_micros, resolution)
    SELECT %(account)s, %(quote)s, '' FROM generate_series(1, %(count)s)
    RETURNING id
), numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS number FROM reservation)
INSERT INTO workers_generation
    (account_id, number, reservation_id, kind, model, prompt, parameters, quote_micros, status, attempt_count, turn_at,
     not_before, deadline_at, created_at, hinted_at, error_code, error_type, error_detail)
SELECT %(account)s, number, id, 'create', 'zekron-image-1', 'a boat', '{"width": 512, "height": 512, "seed": 1}',
    %(quote)s, 'queued', 0, now() + (number - 1) * %(turn)s * interval '1 second',
    now(), now() + interval '1 day', now(), now(), '', '', ''
FROM numbered
"""

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
_names = count(1)
Claim = Callable[[], Generation]


def claim_oldest() -> Generation:
    """Claim the generation that was accepted first."""
    queued = Generation.objects.filter(status=Status.QUEUED).order_by("pk")
    with transaction.atomic():
        first = queued.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True).first()
        if first is None:
            raise generations.NotClaimable
        # The turn of the one that was accepted first comes first.
        Generation.objects.filter(pk=first).update(turn_at=LONG_AGO)
        return generations.claim_next()


@contextmanager
def _prepare() -> Iterator[Round]:
    yield _measure


def _measure(b_first: bool) -> Samples:
    waits = {}
    for side in "BA" if b_first else "AB":
        waits[side] = _count_steps(generations.claim_next if side == "B" else claim_oldest, WORKERS)
    return {
        "ratio": waits["A"] / waits["B"],
        "wait": waits["B"],
        "wait with one worker": _count_steps(generations.claim_next, 1),
        "wait of A": waits["A"],
    }


def _count_steps(claim: Claim, workers: int) -> int:
    """Return the steps until the other account's generation is claimed."""
    Generation.objects.filter(status=Status.QUEUED).delete()
    _queue(FLOOD)
    other = _queue(1)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE workers_generation")
    return _count_steps_until(other.pk, claim, workers)


def _count_steps_until(account_id: int, claim: Claim, workers: int) -> int:
    """Let all workers claim at once, again and again, until one has a generation of this account."""
    step_over, found = threading.Barrier(workers), threading.Event()

    def work() -> int:
        steps = 0
        try:
            # The finder sets the event before the step ends, so that all workers end with the same step.
            while not found.is_set():
                steps += 1
                # In the last step there may be more workers than generations.
                with suppress(generations.NotClaimable):
                    if claim().account_id == account_id:
                        found.set()
                step_over.wait()
        except BaseException:
            step_over.abort()
            raise
        finally:
            connections.close_all()
        return steps

    with ThreadPoolExecutor(workers) as pool:
        return max(done.result() for done in [pool.submit(work) for _ in range(workers)])


def _queue(count: int) -> Account:
    """Queue this many generations, accepted now, of an account of their own."""
    held_micros = QUOTE_MICROS * count
    account = Account.objects.create(
        name=f"benchmark fairness {next(_names)}",
        balance_micros=held_micros,
        reserved_micros=held_micros,
        hold_count=count,
        open_hold_count=count,
    )
    values = {"account": account.pk, "count": count, "quote": QUOTE_MICROS, "turn": submission.TURN_SECONDS}
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, values)
    return account


BENCHMARKS: Final = (
    Benchmark(
        code="C8",
        name="fairness",
        a=f"one account has {FLOOD:,} queued, another sends one: {WORKERS} workers take them as they were accepted",
        b="the same by generations.claim_next, in the order of turns",
        clock="steps",
        figures=(
            Figure(name="ratio", at_least=100),
            Figure(name="wait", at_least=FLOOD / WORKERS / 100, aim=2, lower_is_better=True, unit=""),
            Figure(name="wait with one worker", at_least=FLOOD / 100, aim=2, lower_is_better=True, unit=""),
            Figure(name="wait of A", unit=""),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
