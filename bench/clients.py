"""HTTP clients that wait for their replies, several at once, each on one connection. Their cost is not measured."""

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from threading import Lock
from typing import Any, NamedTuple


class Ask(NamedTuple):
    """One request: its path, its key, and its body for JSON."""

    path: str
    key: str
    body: dict[str, Any]


def send_all(port: int, asks: Sequence[Ask], *, at_once: int, min_bytes: int = 1) -> float:
    """Send the requests, `at_once` of them at any moment, and return the seconds until all replies are there.

    Raise AssertionError for a reply that is not 200 or shorter than `min_bytes`.
    """
    left, lock = iter(asks), Lock()
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for done in [
            pool.submit(partial(_work_through, port, left, lock, min_bytes)) for _ in range(at_once)
        ]:
            done.result()
    return time.perf_counter() - started


def time_each(port: int, asks: Sequence[Ask]) -> list[float]:
    """Send the requests one after the other on one connection, and return the seconds of each.

    Raise AssertionError for a reply that is not 200.
    """
    seconds = []
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=300)) as connection:
        for ask in asks:
            started = time.perf_counter()
            _send(connection, ask, min_bytes=1)
            seconds.append(time.perf_counter() - started)
    return seconds


def _work_through(port: int, left: Iterator[Ask], lock: Lock, min_bytes: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    while True:
        with lock:
            ask = next(left, None)
        if ask is None:
            connection.close()
            return
        _send(connection, ask, min_bytes)


def _send(connection: http.client.HTTPConnection, ask: Ask, min_bytes: int) -> None:
    headers = {"Authorization": f"Bearer {ask.key}", "Content-Type": "application/json"}
    connection.request("POST", ask.path, json.dumps(ask.body), headers)
    reply = connection.getresponse()
    content = reply.read()
    if reply.status != 200 or len(content) < min_bytes:
        raise AssertionError(f"{ask.path} said {reply.status}: {content[:300]!r}")
