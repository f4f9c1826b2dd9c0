"""Absence of PostgreSQL: it is logged once when it goes and once when it is back, and few try meanwhile."""

import logging
import threading

import psycopg
import pytest

from storage.postgresql.availability import REST_SECONDS, Availability


class Clock:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def availability(clock: Clock) -> Availability:
    return Availability(clock=clock)


def _fail(availability: Availability, text: str = "connection refused") -> None:
    with pytest.raises(psycopg.OperationalError, match=text), availability.connecting():
        raise psycopg.OperationalError("connection refused")


def test_one_line_says_that_it_is_away_and_one_that_it_is_back(
    availability: Availability, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with availability.connecting():
        pass
    for _ in range(5):
        _fail(availability)
        clock.now += REST_SECONDS
    for _ in range(2):
        with availability.connecting():
            pass
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line.partition(".")[0] for line in lines] == ["PostgreSQL is away", "PostgreSQL is back"]


def test_after_a_failure_nobody_connects_until_it_has_rested(
    availability: Availability, clock: Clock
) -> None:
    _fail(availability)
    _fail(availability, "a moment ago")
    clock.now += REST_SECONDS
    _fail(availability, "connection refused")


def test_while_it_is_away_one_thread_at_a_time_tries(availability: Availability, clock: Clock) -> None:
    _fail(availability)
    clock.now += REST_SECONDS
    begun, go_on = threading.Event(), threading.Event()

    def connect() -> None:
        with availability.connecting():
            begun.set()
            assert go_on.wait(60)

    thread = threading.Thread(target=connect)
    thread.start()
    assert begun.wait(60)
    _fail(availability, "a moment ago")
    go_on.set()
    thread.join()
    with availability.connecting():
        pass


def test_while_it_answers_any_number_connects_at_once(availability: Availability) -> None:
    with availability.connecting(), availability.connecting():
        pass
