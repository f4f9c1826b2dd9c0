"""Celery as its tutorial has it: a task, a broker and a result backend on Redis, and no option set.

The command is `celery -A bench.baselines.stock_celery worker`, with BASELINE_REDIS_URL.
"""

import gc
import os
import time
from pathlib import Path
from typing import Final

from celery import Celery

WORK_SECONDS: Final = 3600


def build_application(redis_url: str) -> Celery:
    """Return the application on this Redis. The current application stays the service's."""
    return Celery("stock", broker=redis_url, backend=redis_url, set_as_current=False)


def forget(sender: Celery) -> None:
    """Close its connections while its Redis runs. Results collected later would search for it for long."""
    gc.collect()
    sender.close()


app = build_application(os.environ.get("BASELINE_REDIS_URL", ""))


@app.task(name="stock.begin")
def begin() -> float:
    """Return the time at which the task began."""
    return time.time()


@app.task(name="stock.work", acks_late=True)
def work(traces: str) -> None:
    """Note the process that has begun the task, and outlast the benchmark."""
    with Path(traces).open("a") as file:
        file.write(f"{os.getpid()}\n")
    time.sleep(WORK_SECONDS)
