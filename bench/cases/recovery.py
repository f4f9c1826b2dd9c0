"""C13: a worker is killed during its work, and another one begins the work again.

A is a Celery task with `acks_late` and the defaults: two workers on Redis, of which the busy one is killed. Redis
redelivers its message when the visibility timeout is over, after an hour. The benchmark does not wait for that: A is
killed once and watched for at least a minute, and its figure is the time without a new beginning. B is two workers of
this service with free threads, of which one is killed in each round.
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
from typing import Any, Final, TypeVar

from bench import fake_engine, service, subprocesses
from bench.baselines import stock_celery
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, send_all
from bench.service import Service
from bench.subprocesses import Process
from zekron_api.local.run import free_port

T = TypeVar("T")

# Longer than the interval of a worker's heartbeat, so that the kill can come at any point of it.
MAX_WORK_SECONDS: Final = 6.0
WATCHED_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 0.02
MAX_WAIT_SECONDS: Final = 120.0

_names = count(1)


class KilledWorker:
    """Celery's worker after its death, and the fate of its task."""

    def __init__(self, traces: Path) -> None:
        self._traces = traces
        self._at = time.monotonic()
        self._seconds: float | None = None

    def seconds(self) -> float:
        """Return the seconds until the task was begun again, or the seconds so far."""
        so_far = time.monotonic() - self._at
        if self._seconds is None and len(self._traces.read_text().splitlines()) > 1:
            self._seconds = so_far
        return so_far if self._seconds is None else self._seconds


@contextmanager
def _prepare() -> Iterator[Round]:
    with (
        tempfile.TemporaryDirectory(prefix="zekron-bench-") as name,
        _run_celery(Path(name)) as killed,
        service.run(workers=("first", "second")) as ours,
    ):
        workers = [ours.processes["first"], ours.processes["second"]]
        try:
            yield partial(_measure, killed, ours, workers)
        finally:
            for worker in workers:
                subprocesses.end(worker)


@contextmanager
def _run_celery(folder: Path) -> Iterator[KilledWorker]:
    """Run two workers and a task, and kill the worker that has begun it, with its children."""
    port, traces = free_port(), folder / "traces"
    traces.touch()
    url = f"redis://127.0.0.1:{port}/0"
    server = subprocesses.build_redis_command(port=port, folder=folder)
    command = subprocesses.build_python_command(
        "-m", "celery", "-A", "bench.baselines.stock_celery", "worker", "-l", "ERROR"
    )
    environment = {"BASELINE_REDIS_URL": url}
    start = partial(subprocesses.run, folder=folder, environment=environment)
    with (
        subprocesses.run("redis", server, folder=folder),
        start("celery-1", [*command, "-n", "first@%h"]) as first,
        start("celery-2", [*command, "-n", "second@%h"]) as second,
    ):
        stock = stock_celery.build_application(url)
        for _ in range(10):
            # By then both workers are up and have their children.
            stock.send_task("stock.begin").get(timeout=subprocesses.START_SECONDS)
        stock.send_task("stock.work", args=[str(traces)])
        stock_celery.forget(stock)
        pid = int(_wait_until(lambda: traces.read_text().split())[0])
        subprocesses.kill(first if os.getpgid(pid) == first.pid else second)
        yield KilledWorker(traces)


def _measure(killed: KilledWorker, ours: Service, workers: list[Process], b_first: bool) -> Samples:
    del b_first
    seconds = _measure_seconds_to_begin_again(ours, workers)
    while killed.seconds() < WATCHED_SECONDS:
        time.sleep(1)
    return {"seconds": seconds, "seconds of A, so far": killed.seconds()}


def _measure_seconds_to_begin_again(ours: Service, workers: list[Process]) -> float:
    """Kill the worker that has begun a new generation, and start another, as a supervisor would."""
    prompt = f"sleep {MAX_WORK_SECONDS + 1} {next(_names)}"
    (key,) = ours.issue_keys(1)
    ask = Ask("/v1/generate", key, {"prompt": prompt, "size": "512x512"})
    with ThreadPoolExecutor(1) as pool:
        client = pool.submit(send_all, ours.port, [ask], at_once=1)
        pid = int(_wait_until(lambda: _find_begun(ours, prompt))[0]["pid"])
        time.sleep(random.uniform(0, MAX_WORK_SECONDS))  # noqa: S311
        os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        index = [worker.pid for worker in workers].index(pid)
        workers[index].wait()
        name = f"worker-{next(_names)}"
        workers[index] = ours.start_worker(name)
        again_at = float(_wait_until(lambda: _find_begun(ours, prompt)[1:])[0]["at"])
        client.result()
    # The next round needs two workers again.
    _wait_until(lambda: " ready." in (ours.folder / f"{name}.log").read_text())
    return again_at - killed_at


def _find_begun(ours: Service, prompt: str) -> list[dict[str, Any]]:
    return [line for line in fake_engine.read(ours.diary) if line["prompt"] == prompt]


def _wait_until(find: Callable[[], T]) -> T:
    give_up_at = time.monotonic() + MAX_WAIT_SECONDS
    while not (found := find()):
        if time.monotonic() > give_up_at:
            raise AssertionError("the event that the benchmark waits for did not happen")
        time.sleep(LOOK_SECONDS)
    return found


BENCHMARKS: Final = (
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
        prepare=_prepare,
        needs_database=True,
    ),
)
