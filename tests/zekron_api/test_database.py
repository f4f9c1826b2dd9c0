"""Connections that are kept: those that work are taken as they are, those that were cut are replaced."""

import pytest
from django.db import ProgrammingError, close_old_connections, connection
from django.db.backends.postgresql import base

from tests.processes import wait_until
from zekron_api.database import base as database

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def connected():
    """Before anything else of a test."""
    connection.ensure_connection()


def _number() -> int:
    """Which of the server's processes serves this thread."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def test_a_connection_that_worked_a_moment_ago_is_not_asked_whether_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert connection.is_usable()
    number = _number()
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: pytest.fail("it was asked"))
    close_old_connections()
    assert _number() == number


def test_a_connection_that_was_idle_for_long_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.is_usable()
    monkeypatch.setattr(database, "TRUSTED_SECONDS", 0.0)
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: False)
    assert not connection.is_usable()


def test_a_connection_that_met_an_error_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connection.is_usable()
    with pytest.raises(ProgrammingError), connection.cursor() as cursor:
        cursor.execute("SELECT nothing")
    monkeypatch.setattr(base.DatabaseWrapper, "is_usable", lambda self: False)
    assert not connection.is_usable()


def test_a_connection_that_the_server_has_ended_is_replaced() -> None:
    number = _number()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [number])
    other.close()
    wait_until(lambda: not connection.is_usable())
    close_old_connections()
    assert _number() != number


def test_a_connection_that_is_closed_is_no_use() -> None:
    other = connection.copy()
    other.ensure_connection()
    assert other.is_usable()
    other.connection.close()
    assert not other.is_usable()
