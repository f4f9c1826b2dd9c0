"""C4: clients that wait in one web process, ten of them and ten thousand.

A is Django's own ASGI handler with an asynchronous view, with as many clients as the database has connections for,
because it keeps a thread with a connection for each. B is the waiting room. Both are uvicorn with real requests,
keys, holds and images, whose completions the benchmark makes as a worker would. `more` clients come and are answered
while the others wait. In a storm, very many are answered at once, and requests that do not wait are timed beside it.
"""

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.db import transaction

from bench import waiting_clients, web
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.web import Web

FEW: Final = 10
MANY: Final = 10_000
# A needs a connection for each client. PostgreSQL has two hundred here, and clients that come and go share the rest.
MANY_OF_A: Final = 60
MORE: Final = 200
MORE_AT_ONCE: Final = {"A": 50, "B": MORE}
STORM: Final = 1_000
# The pace of a busy fleet. The web process is not busy at it, so the wake-up is measured, and not a queue.
BETWEEN_ENDS_SECONDS: Final = 0.02
APPLICATIONS: Final = {"A": "bench.baselines.django_alone:application", "B": "zekron_api.asgi:application"}


class Context(NamedTuple):
    """The web processes, the number of clients that wait in each, and keys for those that come and go."""

    waiting: dict[str, int]
    webs: dict[str, Web]
    kib_each: dict[str, float]
    guests: Sequence[str]
    # Each round uses another key, because a key may send sixty requests in a minute.
    askers: Iterator[str]


@contextmanager
def _prepare() -> Iterator[Round]:
    waiting_clients.refuse_small_machines(MANY)
    with ExitStack() as stack:
        environment = stack.enter_context(waiting_clients.prepare())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        waiting = {"A few": FEW, "A many": MANY_OF_A, "B few": FEW, "B many": MANY}
        webs = {
            name: stack.enter_context(
                web.serve(APPLICATIONS[name[0]], name=f"bench {name}", folder=folder, environment=environment)
            )
            for name in waiting
        }
        guests = waiting_clients.issue_keys(STORM)
        kib_each = {name: _fill(webs[name], number, guests) for name, number in waiting.items()}
        context = Context(waiting, webs, kib_each, guests, cycle(reversed(guests)))
        yield lambda b_first: _measure(context, b_first)


def _fill(into: Web, number: int, guests: Sequence[str]) -> float:
    """Let this many clients wait from now on, and return the KiB that each has taken."""
    # The first requests load code that stays in memory.
    waiting_clients.answer(into, waiting_clients.post(into, guests[:FEW]))
    before = into.memory_bytes
    waiting_clients.post(into, waiting_clients.issue_keys_for(number), max_count=number)
    return (into.memory_bytes - before) / number / 1024


def _measure(context: Context, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for name in sorted(context.webs, reverse=b_first):
        more = _measure_more(context, context.webs[name], at_once=MORE_AT_ONCE[name[0]])
        samples |= {f"{what} {name}": value for what, value in more.items()}
    many = context.webs["B many"]
    new_ms, error_count = _measure_storm(context, many)
    return {
        "A": samples["CPU A many"],
        "B": samples["CPU B many"],
        "KiB a client": context.kib_each["B many"],
        "threads": many.thread_count,
        "database connections": many.database_connection_count,
        "errors": error_count + samples["errors B many"] + samples["errors B few"],
        "CPU's growth": samples["CPU B many"] / samples["CPU B few"],
        "ms from end to client, median": samples["median ms B many"],
        "ms from end to client, 99 %": samples["most ms B many"],
        "ms of a new request in a storm, 99 %": new_ms,
        "KiB a client of A": context.kib_each["A many"],
        "threads of A": context.webs["A many"].thread_count,
        "database connections of A": context.webs["A many"].database_connection_count,
        "CPU's growth of A": samples["CPU A many"] / samples["CPU A few"],
    }


def _measure_more(context: Context, asked: Web, *, at_once: int) -> dict[str, float]:
    """Return the processor time of one client that comes and goes while others wait, and its latencies."""
    before, answers, ended_at = asked.cpu_seconds, list[Any](), dict[int, float]()
    for start in range(0, MORE, at_once):
        ids = waiting_clients.post(asked, context.guests[start : start + at_once])
        some, some_ended_at = waiting_clients.answer(asked, ids, pause_seconds=BETWEEN_ENDS_SECONDS)
        answers, ended_at = answers + some, ended_at | some_ended_at
    cpu_seconds = (asked.cpu_seconds - before) / MORE
    latencies = [
        1000 * (answered - ended_at[number]) for _, number, _, answered in answers if number in ended_at
    ]
    return {
        "CPU": cpu_seconds,
        "errors": float(sum(status != 200 for status, *_ in answers)),
        "median ms": statistics.median(latencies),
        "most ms": statistics.quantiles(latencies, n=100)[98],
    }


def _measure_storm(context: Context, many: Web) -> tuple[float, int]:
    """Complete very many at once. Return the ms of a new request meanwhile, and the number of failed replies."""
    ids = waiting_clients.post(many, context.guests)
    made = waiting_clients.make(ids)
    # The completions are announced when all of them are committed.
    with transaction.atomic():
        for generation, image in made:
            waiting_clients.complete(generation, image)
    seconds = many.order(get=["/v1/balance", next(context.askers), 40])
    answers = many.order(answers=len(ids))
    return 1000 * statistics.quantiles(seconds, n=100)[98], sum(status != 200 for status, *_ in answers)


BENCHMARKS: Final = (
    Benchmark(
        code="C4",
        name="waiting",
        a=f"{FEW} clients, then {MANY_OF_A}, wait in Django's ASGI handler with an asynchronous view",
        b=f"{FEW} clients, then {MANY:,}, wait in the waiting room",
        clock="CPU",
        figures=(
            Figure(name="KiB a client", at_least=40, aim=20, lower_is_better=True, unit=""),
            *waiting_clients.FIGURES,
            Figure(name="CPU's growth", at_least=1.3, aim=1.15, lower_is_better=True),
            Figure(name="ms from end to client, median", unit=""),
            Figure(name="ms from end to client, 99 %", at_least=50, lower_is_better=True, unit=""),
            Figure(name="ms of a new request in a storm, 99 %", unit=""),
            Figure(name="KiB a client of A", unit=""),
            Figure(name="threads of A", unit=""),
            Figure(name="database connections of A", unit=""),
            Figure(name="CPU's growth of A"),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
