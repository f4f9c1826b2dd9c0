"""C13: a worker is killed in the midst of its work: how long until another has begun it again.

A is a Celery task with `acks_late` and all else as it comes: two workers on Redis, and the one at work is killed. Redis
gives its message to the other one when the visibility timeout is over, after an hour. Nobody waits for that here: A is
killed once and watched for a minute at least, and its figure says for how long nothing has happened. B is two workers
of this service with room to spare, and one is killed in each round.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from bench import fake_engine, service, subprocesses
from bench.baselines import stock_celery
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, ask_all
from bench.service import Service
from bench.subprocesses import Process
from zekron_api.local.run import free_port

T = TypeVar("T")

# Longer than the pause between two beats of a worker's heart, at any moment of which it may be killed.
MOMENT_SECONDS = 6.0
WATCHED_SECONDS = 60.0
LOOK_SECONDS = 0.02
LIMIT_SECONDS = 120.0

_names = count(1)


class Killed:
    """Celery's worker after its death: what has become of the task that it had begun."""

    def __init__(self, traces: Path) -> None:
        self._traces = traces
        self._at = time.monotonic()
        self._seconds: float | None = None

    def seconds(self) -> float:
        """Until it was begun again, or so far."""
        so_far = time.monotonic() - self._at
        if self._seconds is None and len(self._traces.read_text().splitlines()) > 1:
            self._seconds = so_far
        return so_far if self._seconds is None else self._seconds


@contextmanager
def _ready() -> Iterator[Round]:
    with (
        tempfile.TemporaryDirectory(prefix="zekron-bench-") as name,
        _celery(Path(name)) as killed,
        service.running(workers=("first", "second")) as ours,
    ):
        workers = [ours.processes["first"], ours.processes["second"]]
        try:
            yield partial(_measure, killed, ours, workers)
        finally:
            for worker in workers:
                subprocesses.end(worker)


@contextmanager
def _celery(folder: Path) -> Iterator[Killed]:
    """Two workers and a task; the one that has begun it is killed with its children."""
    port, traces = free_port(), folder / "traces"
    traces.touch()
    url = f"redis://127.0.0.1:{port}/0"
    server = subprocesses.redis(port=port, folder=folder)
    command = subprocesses.python(
        "-m", "celery", "-A", "bench.baselines.stock_celery", "worker", "-l", "ERROR"
    )
    environment = {"BASELINE_REDIS_URL": url}
    start = partial(subprocesses.running, folder=folder, environment=environment)
    with (
        subprocesses.running("redis", server, folder=folder),
        start("celery-1", [*command, "-n", "first@%h"]) as first,
        start("celery-2", [*command, "-n", "second@%h"]) as second,
    ):
        stock = stock_celery.application(url)
        for _ in range(10):
            # Both are there by then, and have their children.
            stock.send_task("stock.begin").get(timeout=subprocesses.START_SECONDS)
        stock.send_task("stock.work", args=[str(traces)])
        stock_celery.forget(stock)
        pid = int(_until(lambda: traces.read_text().split())[0])
        subprocesses.kill(first if os.getpgid(pid) == first.pid else second)
        yield Killed(traces)


def _measure(killed: Killed, ours: Service, workers: list[Process], b_first: bool) -> Samples:
    del b_first
    seconds = _seconds_to_begin_again(ours, workers)
    while killed.seconds() < WATCHED_SECONDS:
        time.sleep(1)
    return {"seconds": seconds, "seconds of A, so far": killed.seconds()}


def _seconds_to_begin_again(ours: Service, workers: list[Process]) -> float:
    """Kills the worker that has begun a new generation; another takes its place, as a supervisor would start it."""
    prompt = f"sleep {MOMENT_SECONDS + 1} {next(_names)}"
    (key,) = ours.keys(1)
    ask = Ask("/v1/generate", key, {"prompt": prompt, "size": "512x512"})
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(ask_all, ours.port, [ask], at_once=1)
        pid = int(_until(lambda: _begun(ours, prompt))[0]["pid"])
        time.sleep(random.uniform(0, MOMENT_SECONDS))  # noqa: S311
        os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        place = [worker.pid for worker in workers].index(pid)
        workers[place].wait()
        name = f"worker-{next(_names)}"
        workers[place] = ours.start_worker(name)
        again_at = float(_until(lambda: _begun(ours, prompt)[1:])[0]["at"])
        client.result()
    # The next round finds two workers again.
    _until(lambda: " ready." in (ours.folder / f"{name}.log").read_text())
    return again_at - killed_at


def _begun(ours: Service, prompt: str) -> list[dict[str, Any]]:
    return [line for line in fake_engine.read(ours.diary) if line["prompt"] == prompt]


def _until(find: Callable[[], T]) -> T:
    give_up_at = time.monotonic() + LIMIT_SECONDS
    while not (found := find()):
        if time.monotonic() > give_up_at:
            raise AssertionError("what the benchmark waits for does not happen")
        time.sleep(LOOK_SECONDS)
    return found


BENCHMARKS = (
    Benchmark(
        code="C13",
        name="recovery",
        a="a worker of Celery with acks_late is killed at its task: redelivered after the visibility timeout, 3600 s",
        b="one of two workers of this service is killed at a generation: begun by another one",
        clock="wall",
        figures=(
            Figure(name="seconds", at_least=15, aim=5, lower_is_better=True, unit=" s"),
            Figure(name="seconds of A, so far", unit=" s"),
        ),
        ready=_ready,
        needs_database=True,
    ),
)
