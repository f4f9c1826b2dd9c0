"""Threads that work as those of the web process and the worker do, each with its own database connection."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from django.db import connection


def measure_together(works: Sequence[Callable[[], object]]) -> float:
    """Return the seconds from when all threads are connected until the last is done. Raise what one raises."""
    start = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], object]) -> None:
        connection.ensure_connection()
        start.wait()
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(works)) as pool:
        under_way = [pool.submit(run, work) for work in works]
        start.wait()
        started = time.perf_counter()
        for one in under_way:
            one.result()
        return time.perf_counter() - started
