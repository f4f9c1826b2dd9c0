"""Celery as its tutorial has it: a task, a broker and a result backend on Redis, and no option set.

`celery -A bench.baselines.stock_celery worker`, with BASELINE_REDIS_URL.
"""

import os
import time

from celery import Celery


def application(redis_url: str) -> Celery:
    """The application on this Redis. It does not become the current one, which is the service's."""
    return Celery("stock", broker=redis_url, backend=redis_url, set_as_current=False)


app = application(os.environ.get("BASELINE_REDIS_URL", ""))


@app.task(name="stock.begin")
def begin() -> float:
    """The moment at which it began."""
    return time.time()
