"""C17: what a waiting stream of events costs beside a waiting plain client, among ten thousand of both in one process.

A is a client that waits for its reply, and B one that asked for events. Two thousand of B and eight thousand of A wait
in one process of uvicorn. Then every stream is told steps as workers publish them, a few generations in a message. Some
more of both come and are answered meanwhile.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench import waiting_clients, web
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.web import Web
from workers.lifecycle import generations
from workers.messaging import progress_events
from workers.messaging.progress_events import Step

ALL: Final = 10_000
STREAMS: Final = 2_000
MORE: Final = 200
STEPS: Final = 4
# A message of a worker has the generations of its running batch.
IN_A_MESSAGE: Final = 8
WARM: Final = 20


class Context(NamedTuple):
    """The web process, the generations that are watched, and keys for the clients that come and go."""

    web: Web
    watched: Sequence[int]
    guests: Sequence[str]
    kib_a_stream: float
    kib_a_client: float


@contextmanager
def _prepare() -> Iterator[Round]:
    waiting_clients.refuse_small_machines(ALL)
    with ExitStack() as stack:
        environment = stack.enter_context(waiting_clients.prepare())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        served = stack.enter_context(
            web.serve(
                "zekron_api.asgi:application", name="bench streams", folder=folder, environment=environment
            )
        )
        guests = waiting_clients.issue_keys(MORE)
        for order in ("post", "stream"):
            # The first requests load code that stays in memory.
            ids = waiting_clients.post(served, guests[:WARM], order=order)
            waiting_clients.answer(served, ids)
        watched, kib_a_stream = _fill(served, STREAMS, order="stream")
        for _ in watched:
            generations.claim_next()
        _, kib_a_client = _fill(served, ALL - STREAMS, order="post")
        context = Context(served, watched, guests, kib_a_stream, kib_a_client)
        yield lambda b_first: _measure(context, b_first)


def _fill(into: Web, number: int, *, order: str) -> tuple[list[int], float]:
    """Let this many clients wait from now on. Return their generations, and the KiB that each client has taken."""
    before = into.memory_bytes
    keys = waiting_clients.issue_keys_for(number)
    ids = waiting_clients.post(into, keys, max_count=number, order=order)
    return ids, (into.memory_bytes - before) / number / 1024


def _measure(context: Context, b_first: bool) -> Samples:
    orders = ("stream", "post") if b_first else ("post", "stream")
    more = {order: _measure_more(context, order) for order in orders}
    (a, a_errors), (b, b_errors) = more["post"], more["stream"]
    return {
        "A": a,
        "B": b,
        "KiB a stream": context.kib_a_stream,
        "KiB a plain client": context.kib_a_client,
        "threads": context.web.thread_count,
        "database connections": context.web.database_connection_count,
        "errors": a_errors + b_errors,
        "ms of CPU an event": 1000 * _measure_events(context),
        "CPU of a stream that comes and goes": b / a,
    }


def _measure_more(context: Context, order: str) -> tuple[float, int]:
    """Return the processor time of one client that comes and is answered, and the number of errors."""
    before = context.web.cpu_seconds
    ids = waiting_clients.post(context.web, context.guests, order=order)
    answers, _ = waiting_clients.answer(context.web, ids)
    return (context.web.cpu_seconds - before) / MORE, sum(status != 200 for status, *_ in answers)


def _measure_events(context: Context) -> float:
    """Return the processor seconds of one event, with all that the process does meanwhile for those who wait."""
    before = context.web.cpu_seconds
    for done in range(1, STEPS + 1):
        for start in range(0, STREAMS, IN_A_MESSAGE):
            some = context.watched[start : start + IN_A_MESSAGE]
            progress_events.publish(steps={number: Step(done, STEPS) for number in some})
        context.web.order(steps=STREAMS)
    return (context.web.cpu_seconds - before) / (STEPS * STREAMS)


BENCHMARKS: Final = (
    Benchmark(
        code="C17",
        name="streams",
        a=f"a client that waits for its reply, among {ALL:,}",
        b=f"one of {STREAMS:,} that watch events among them",
        clock="CPU",
        figures=(
            Figure(name="KiB a stream", at_least=40, aim=25, lower_is_better=True, unit=""),
            *waiting_clients.FIGURES,
            Figure(name="ms of CPU an event", at_least=0.5, lower_is_better=True, unit=""),
            Figure(name="CPU of a stream that comes and goes"),
            Figure(name="KiB a plain client", unit=""),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
