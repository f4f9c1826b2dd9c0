"""HTTP clients that wait for their replies, several at once, each on one connection. Their own cost is not measured."""

import http.client
import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any, NamedTuple


class Ask(NamedTuple):
    """One request: where to, with which key, and its body as JSON."""

    path: str
    key: str
    body: dict[str, Any]


def ask_all(port: int, asks: Sequence[Ask], *, at_once: int, least_bytes: int = 1) -> float:
    """Seconds until all have their replies, `at_once` of them waiting at any moment. A reply that is no 200, or shorter
    than that, is an error."""
    left, lock = iter(asks), Lock()
    started = time.perf_counter()
    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(partial(_work_off, port, left, lock, least_bytes)) for _ in range(at_once)]:
            done.result()
    return time.perf_counter() - started


def _work_off(port: int, left: Iterator[Ask], lock: Lock, least_bytes: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    while True:
        with lock:
            ask = next(left, None)
        if ask is None:
            connection.close()
            return
        headers = {"Authorization": f"Bearer {ask.key}", "Content-Type": "application/json"}
        connection.request("POST", ask.path, json.dumps(ask.body), headers)
        reply = connection.getresponse()
        content = reply.read()
        if reply.status != 200 or len(content) < least_bytes:
            raise AssertionError(f"{ask.path} said {reply.status}: {content[:300]!r}")
