"""C6: the time from "accepted" to "begun", with an idle worker.

A is stock Celery: `delay().get()`, and its part until the task begins. B lasts from the COMMIT of
`generations.submit` until the worker has claimed the generation, read it, and calls the engine. In between, B locks
and leases the row, so that nothing is lost and nothing is done twice, which A does not guarantee. Raw Redis is one
LPUSH to one BRPOP.

Redis commands are counted as they are sent, over the whole path of an HTTP request. Commands that depend on time are
not counted; `redis_commands` lists them. For A, the commands of `delay().get()` alone are counted.
"""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import redis
from celery import Celery
from django.db import transaction
from django.test import override_settings

from bench import fake_engine, redis_commands, service, subprocesses
from bench.baselines import stock_celery
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, send_all
from bench.service import Service
from workers.lifecycle import generations
from workers.lifecycle.submission import Submission
from workers.models import OPEN_STATUSES, Generation, Kind
from zekron_api.local.run import free_port

TIMES: Final = 40
COUNTED: Final = 10
LOOK_SECONDS: Final = 0.002

_prompts = count(1)


@contextmanager
def _prepare() -> Iterator[Round]:
    with tempfile.TemporaryDirectory(prefix="zekron-bench-") as name, service.run() as ours:
        # No other benchmark sends messages from this process, so its connections open here.
        its_redis = {"REDIS_URL": ours.redis_url, "CELERY_BROKER_URL": ours.redis_url}
        with override_settings(**its_redis), _run_stock(Path(name)) as stock:
            yield partial(_measure, stock, ours)


@contextmanager
def _run_stock(folder: Path) -> Iterator[Celery]:
    """Run Celery's worker on a Redis of its own, and give the application that sends tasks."""
    port = free_port()
    server = subprocesses.build_redis_command(port=port, folder=folder)
    environment = {"BASELINE_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    worker = subprocesses.build_python_command(
        "-m", "celery", "-A", "bench.baselines.stock_celery", "worker", "-l", "ERROR"
    )
    with (
        subprocesses.run("redis", server, folder=folder),
        subprocesses.run("celery", worker, folder=folder, environment=environment),
    ):
        stock = stock_celery.build_application(environment["BASELINE_REDIS_URL"])
        # Its answer shows that all processes are up and connected.
        _send_task(stock).get(timeout=subprocesses.START_SECONDS)
        yield stock
        stock_celery.forget(stock)


def _measure(stock: Celery, ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for b in (True, False) if b_first else (False, True):
        samples |= _measure_service(ours) if b else _measure_stock(stock)
    raw = _measure_raw_redis(ours.redis_url)
    return {
        **samples,
        "ratio": samples["A"] / samples["B"],
        "ratio to A's begin": samples["A begins"] / samples["B"],
        "beside raw Redis": samples["B"] / raw,
    }


def _measure_stock(stock: Celery) -> Samples:
    whole, begun = [], []
    for _ in range(TIMES):
        sent_at = time.time()
        began_at = _send_task(stock).get()
        whole.append(time.time() - sent_at)
        begun.append(began_at - sent_at)
    with (
        redis.Redis.from_url(stock.conf.broker_url) as client,
        redis_commands.record_commands(client) as sent,
    ):
        for _ in range(COUNTED):
            _send_task(stock).get()
    commands = len(redis_commands.select_work(sent, queue="celery")) / COUNTED
    return {
        "A": statistics.median(whole),
        "A begins": statistics.median(begun),
        "Redis commands of A": commands,
    }


def _send_task(stock: Celery) -> Any:
    return stock.send_task("stock.begin")


def _measure_service(ours: Service) -> Samples:
    account_id = ours.open_account()
    begun = [_measure_seconds_to_begin(ours, account_id) for _ in range(TIMES)]
    (key,) = ours.issue_keys(COUNTED)
    ask = Ask("/v1/generate", key, {"prompt": "flat", "size": "512x512"})
    # The first request of a thread opens connections that the others use.
    send_all(ours.port, [ask], at_once=1)
    with ours.connect_redis() as client, redis_commands.record_commands(client) as sent:
        send_all(ours.port, [ask] * COUNTED, at_once=1)
    commands = len(redis_commands.select_work(sent, queue="gpu")) / COUNTED
    return {"B": statistics.median(begun), "Redis commands": commands}


def _measure_seconds_to_begin(ours: Service, account_id: int) -> float:
    accepted_at: list[float] = []
    written = ours.diary.stat().st_size
    with transaction.atomic():
        # This runs before the message is sent, which also happens on COMMIT.
        transaction.on_commit(lambda: accepted_at.append(time.time()))
        generations.submit(submission=_build_submission(account_id), open_limit=1)
    while ours.diary.stat().st_size == written:
        time.sleep(LOOK_SECONDS)
    while Generation.objects.filter(account_id=account_id, status__in=OPEN_STATUSES).exists():
        time.sleep(LOOK_SECONDS)
    return float(fake_engine.read(ours.diary)[-1]["at"]) - accepted_at[0]


def _build_submission(account_id: int) -> Submission:
    return Submission(
        account_id=account_id,
        kind=Kind.CREATE,
        model="zekron-image-1",
        prompt=f"flat {next(_prompts)}",
        parameters=[{"width": 512, "height": 512, "seed": 1}],
        quote_micros=26_700,
    )


def _measure_raw_redis(url: str) -> float:
    """Return the seconds from before LPUSH until BRPOP has given the message to another thread."""
    seconds: list[float] = []

    def take() -> None:
        with redis.Redis.from_url(url) as taker:
            for _ in range(TIMES):
                _, sent_at = taker.brpop(["benchmark"])
                seconds.append(time.time() - float(sent_at))

    thread = threading.Thread(target=take)
    thread.start()
    with redis.Redis.from_url(url) as sender:
        for _ in range(TIMES):
            # The other thread waits by then.
            time.sleep(LOOK_SECONDS)
            sender.lpush("benchmark", time.time())
    thread.join()
    return statistics.median(seconds)


BENCHMARKS: Final = (
    Benchmark(
        code="C6",
        name="queue",
        a="stock Celery with a result backend: delay().get(); it forgets what was with a worker that dies",
        b="from the COMMIT of a submission until its worker has claimed it and asks the device",
        clock="wall",
        figures=(
            Figure(name="ratio", at_least=1),
            Figure(name="Redis commands", at_least=12, lower_is_better=True, unit=""),
            Figure(name="Redis commands of A", unit=""),
            Figure(name="ratio to A's begin"),
            Figure(name="beside raw Redis"),
        ),
        prepare=_prepare,
        needs_database=True,
    ),
)
