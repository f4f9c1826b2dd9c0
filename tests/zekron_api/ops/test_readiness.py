"""Checks that are shared: one at a time, fresh for a second, and never a dead end."""

import threading
from concurrent.futures import wait
from typing import Any

import pytest
from django.db import connection, connections
from django.db.utils import OperationalError

from zekron_api.ops import readiness
from zekron_api.ops.readiness import SharedCheck

PATIENCE_SECONDS = 60


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the module."""
    clock = Clock()
    monkeypatch.setattr(readiness, "time", clock)
    return clock


def test_all_who_ask_meanwhile_share_one_check(clock: Clock) -> None:
    released, calls = threading.Event(), []

    def check() -> int:
        calls.append(threading.current_thread())
        released.wait(PATIENCE_SECONDS)
        return 7

    shared = SharedCheck(check, without_answer=0)
    futures = {shared.start() for _ in range(50)}
    released.set()
    wait(futures, PATIENCE_SECONDS)
    assert (len(futures), len(calls), shared.result()) == (1, 1, 7)
    assert calls[0].daemon


def test_a_result_is_fresh_for_a_second_and_no_longer(clock: Clock) -> None:
    numbers = iter(range(1, 10))
    shared = SharedCheck(lambda: next(numbers), without_answer=0)
    assert shared.start().result(PATIENCE_SECONDS) == 1
    clock.now += 0.99
    assert shared.start().result(PATIENCE_SECONDS) == 1
    clock.now += 0.01
    assert shared.start().result(PATIENCE_SECONDS) == 2


def test_a_result_that_is_shared_for_less_than_a_second_is_checked_again_sooner(clock: Clock) -> None:
    numbers = iter(range(1, 10))
    shared = SharedCheck(lambda: next(numbers), without_answer=0, shared_seconds=0.1)
    found = []
    for later in (0.0, 0.09, 0.01):
        clock.now += later
        found.append(shared.start().result(PATIENCE_SECONDS))
    assert found == [1, 1, 2]


def test_a_check_without_an_answer_counts_as_failed_after_five_seconds_and_is_not_repeated(
    clock: Clock,
) -> None:
    released, results = threading.Event(), iter([True, True])

    def check() -> bool:
        released.wait(PATIENCE_SECONDS)
        return next(results)

    released.set()
    shared = SharedCheck(check, without_answer=False)
    assert shared.start().result(PATIENCE_SECONDS)
    released.clear()
    clock.now += 10
    future = shared.start()
    # Until it is due, the last result stands.
    clock.now += 4.9
    assert (shared.result(), shared.start()) == (True, future)
    clock.now += 0.1
    assert (shared.result(), shared.start(), shared.wait_seconds()) == (False, future, 0)
    released.set()
    assert future.result(PATIENCE_SECONDS)
    assert shared.result()


@pytest.mark.parametrize("error", [OperationalError, OSError, RuntimeError, ZeroDivisionError])
def test_a_check_that_raises_anything_failed_and_the_next_one_is_made(
    clock: Clock, error: type[Exception]
) -> None:
    outcomes = iter([error("x"), None])

    def check() -> bool:
        if (outcome := next(outcomes)) is not None:
            raise outcome
        return True

    shared = SharedCheck(check, without_answer=False)
    assert shared.start().result(PATIENCE_SECONDS) is False
    clock.now += 1
    assert shared.start().result(PATIENCE_SECONDS) is True


@pytest.mark.django_db(transaction=True)
def test_a_check_leaves_no_database_connection_behind() -> None:
    used: list[Any] = []

    def check() -> bool:
        connection.ensure_connection()
        used.append((connections[connection.alias], connection.connection))
        return True

    assert SharedCheck(check, without_answer=False).start().result(PATIENCE_SECONDS)
    [(wrapper, opened)] = used
    try:
        assert (wrapper.connection, opened.closed) == (None, True)
    finally:
        opened.close()
