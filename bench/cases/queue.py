"""C6: from "accepted" to "begun", with a worker that has nothing else to do.

A is stock Celery: `delay().get()`, and of that the time until the task begins. B is from the COMMIT of
`generations.submit` until the worker has claimed the generation, read it, and asks the device: the row is locked and
leased in between, so that nothing is lost and nothing done twice, which A does not promise. Raw Redis is one LPUSH to
one BRPOP.

Redis commands are counted as they are sent, over the whole path of HTTP: asked, hinted, made, announced, answered.
What a process sends because time has passed is not of a generation; `redis_commands` says what that is. Of A it is the
commands of `delay().get()` alone.
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
from typing import Any

import redis
from celery import Celery
from django.db import transaction
from django.test import override_settings

from bench import fake_engine, redis_commands, service, subprocesses
from bench.baselines import stock_celery
from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.clients import Ask, ask_all
from bench.service import Service
from workers.lifecycle import generations
from workers.lifecycle.submission import Submission
from workers.models import OPEN_STATUSES, Generation, Kind
from zekron_api.local.run import free_port

TIMES = 40
COUNTED = 10
LOOK_SECONDS = 0.002

_prompts = count(1)


@contextmanager
def _ready() -> Iterator[Round]:
    with tempfile.TemporaryDirectory(prefix="zekron-bench-") as name, service.running() as ours:
        # No other benchmark sends messages from this process, so its connections are made now.
        its_redis = {"REDIS_URL": ours.redis_url, "CELERY_BROKER_URL": ours.redis_url}
        with override_settings(**its_redis), _stock(Path(name)) as stock:
            yield partial(_measure, stock, ours)


@contextmanager
def _stock(folder: Path) -> Iterator[Celery]:
    """Celery's worker on a Redis of its own; the application to send tasks with."""
    port = free_port()
    server = subprocesses.redis(port=port, folder=folder)
    environment = {"BASELINE_REDIS_URL": f"redis://127.0.0.1:{port}/0"}
    worker = subprocesses.python(
        "-m", "celery", "-A", "bench.baselines.stock_celery", "worker", "-l", "ERROR"
    )
    with (
        subprocesses.running("redis", server, folder=folder),
        subprocesses.running("celery", worker, folder=folder, environment=environment),
    ):
        stock = stock_celery.application(environment["BASELINE_REDIS_URL"])
        # Once it answers, all are up and connected.
        _delay(stock).get(timeout=subprocesses.START_SECONDS)
        yield stock
        stock_celery.forget(stock)


def _measure(stock: Celery, ours: Service, b_first: bool) -> Samples:
    samples: dict[str, float] = {}
    for b in (True, False) if b_first else (False, True):
        samples |= _of_ours(ours) if b else _of_stock(stock)
    raw = _raw_seconds(ours.redis_url)
    return {
        **samples,
        "ratio": samples["A"] / samples["B"],
        "ratio to A's begin": samples["A begins"] / samples["B"],
        "beside raw Redis": samples["B"] / raw,
    }


def _of_stock(stock: Celery) -> Samples:
    whole, begun = [], []
    for _ in range(TIMES):
        sent_at = time.time()
        began_at = _delay(stock).get()
        whole.append(time.time() - sent_at)
        begun.append(began_at - sent_at)
    with redis.Redis.from_url(stock.conf.broker_url) as client, redis_commands.recorded(client) as sent:
        for _ in range(COUNTED):
            _delay(stock).get()
    commands = len(redis_commands.for_work(sent, queue="celery")) / COUNTED
    return {
        "A": statistics.median(whole),
        "A begins": statistics.median(begun),
        "Redis commands of A": commands,
    }


def _delay(stock: Celery) -> Any:
    return stock.send_task("stock.begin")


def _of_ours(ours: Service) -> Samples:
    account_id = ours.account()
    begun = [_seconds_to_begin(ours, account_id) for _ in range(TIMES)]
    (key,) = ours.keys(COUNTED)
    ask = Ask("/v1/generate", key, {"prompt": "flat", "size": "512x512"})
    # The first one of an account and a thread opens what the others find open.
    ask_all(ours.port, [ask], at_once=1)
    with ours.redis() as client, redis_commands.recorded(client) as sent:
        ask_all(ours.port, [ask] * COUNTED, at_once=1)
    commands = len(redis_commands.for_work(sent, queue="gpu")) / COUNTED
    return {"B": statistics.median(begun), "Redis commands": commands}


def _seconds_to_begin(ours: Service, account_id: int) -> float:
    accepted_at: list[float] = []
    written = ours.diary.stat().st_size
    with transaction.atomic():
        # Before the hint is sent, which is done at the COMMIT as well.
        transaction.on_commit(lambda: accepted_at.append(time.time()))
        generations.submit(submission=_submission(account_id), open_limit=1)
    while ours.diary.stat().st_size == written:
        time.sleep(LOOK_SECONDS)
    while Generation.objects.filter(account_id=account_id, status__in=OPEN_STATUSES).exists():
        time.sleep(LOOK_SECONDS)
    return float(fake_engine.read(ours.diary)[-1]["at"]) - accepted_at[0]


def _submission(account_id: int) -> Submission:
    return Submission(
        account_id=account_id,
        kind=Kind.CREATE,
        model="zekron-image-1",
        prompt=f"flat {next(_prompts)}",
        parameters={"width": 512, "height": 512, "seed": 1},
        quote_micros=26_700,
    )


def _raw_seconds(url: str) -> float:
    """From before LPUSH until BRPOP has given it to another thread."""
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
            # The other waits by then.
            time.sleep(LOOK_SECONDS)
            sender.lpush("benchmark", time.time())
    thread.join()
    return statistics.median(seconds)


BENCHMARKS = (
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
        ready=_ready,
        needs_database=True,
    ),
)
