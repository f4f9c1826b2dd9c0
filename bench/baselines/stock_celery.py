"""Celery as its tutorial has it: a task, a broker and a result backend on Redis, and no option set.

`celery -A bench.baselines.stock_celery worker`, with BASELINE_REDIS_URL.
"""

import gc
import os
import time
from pathlib import Path

from celery import Celery

WORK_SECONDS = 3600


def application(redis_url: str) -> Celery:
    """The application on this Redis. It does not become the current one, which is the service's."""
    return Celery("stock", broker=redis_url, backend=redis_url, set_as_current=False)


def forget(sender: Celery) -> None:
    """Ends what it has open, while its Redis runs: results that are thrown away later would look for it for long."""
    gc.collect()
    sender.close()


app = application(os.environ.get("BASELINE_REDIS_URL", ""))


@app.task(name="stock.begin")
def begin() -> float:
    """The moment at which it began."""
    return time.time()


@app.task(name="stock.work", acks_late=True)
def work(traces: str) -> None:
    """Says which process has begun it, and goes on for longer than anybody watches."""
    with Path(traces).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(WORK_SECONDS)
