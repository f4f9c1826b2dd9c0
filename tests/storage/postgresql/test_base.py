"""The backend: no wait for a silent PostgreSQL is without an end, and what it says of itself counts as away."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import InternalError, OperationalError, connection

from storage.postgresql import time_limits
from tests.tcp_proxy import Proxy

MAX_SECONDS = 30

Work = Callable[[Any], object]


def _say(statement: str) -> Work:
    def say(connection: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(statement)

    return say


def _reconnect(connection: Any) -> None:
    connection.close()
    connection.ensure_connection()


WAITS: dict[str, Work] = {
    "a statement": _say("SELECT 1"),
    "a commit": lambda connection: connection.commit(),
    "a rollback": lambda connection: connection.rollback(),
    "a connection": _reconnect,
}


def _in_thread(work: Callable[[], object], *, limit_seconds: float = 0.2) -> list[Any]:
    """Run the work with this limit, and return what it returned or raised; nothing when it never ends."""
    said: list[Any] = []

    def run() -> None:
        try:
            with time_limits.waiting_at_most(seconds=limit_seconds):
                said.append(work())
        except Exception as error:  # noqa: BLE001 (the test looks at it)
            said.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(MAX_SECONDS)
    return said


@pytest.mark.parametrize("work", WAITS.values(), ids=WAITS)
def test_whatever_waits_for_a_silent_server_fails_and_leaves_no_connection(
    work: Work, proxied: Any, proxy: Proxy
) -> None:
    proxied.inc_thread_sharing()
    proxied.set_autocommit(False)
    _say("SELECT 1")(proxied)
    proxy.freeze()
    (error,) = _in_thread(lambda: work(proxied))
    assert isinstance(error, OperationalError)
    assert proxied.connection is None or proxied.connection.closed


def test_a_silent_connection_is_not_usable_and_another_one_is_once_the_server_answers(
    proxied: Any, proxy: Proxy
) -> None:
    proxied.inc_thread_sharing()
    _say("SELECT 1")(proxied)
    proxy.freeze()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time_limits, "HEALTH_CHECK_SECONDS", 0.2)
        assert _in_thread(proxied.is_usable, limit_seconds=3600) == [False]
    proxy.thaw()
    proxied.close()
    _say("SELECT 1")(proxied)


@pytest.mark.django_db(transaction=True)
def test_the_server_ends_slow_statements_and_idle_transactions_before_the_client_gives_up() -> None:
    connection.close()
    assert _shown("statement_timeout") == "10s"
    assert _shown("idle_in_transaction_session_timeout") == "15s"
    assert time_limits.wait_seconds() > time_limits.STATEMENT_SECONDS
    with time_limits.long_statements(seconds=3600):
        assert _shown("statement_timeout") == "1h"
        assert time_limits.wait_seconds() > 3600
    assert _shown("statement_timeout") == "10s"


def test_the_kernel_ends_connections_to_hosts_that_are_gone(proxied: Any) -> None:
    proxied.ensure_connection()
    parameters = proxied.connection.info.get_parameters()
    assert parameters["tcp_user_timeout"] == "10000"
    assert {"keepalives_idle", "keepalives_interval", "keepalives_count"} <= parameters.keys()


def test_a_standby_that_takes_no_writes_counts_as_away_and_its_connection_is_closed(proxied: Any) -> None:
    _say("SET default_transaction_read_only = on")(proxied)
    with pytest.raises(OperationalError, match="read-only"):
        _say("CREATE TABLE never (id int)")(proxied)
    assert proxied.connection.closed


def test_an_error_of_a_statement_itself_is_not_mistaken_for_an_absence(proxied: Any) -> None:
    proxied.set_autocommit(False)
    with pytest.raises(Exception, match="nowhere"):
        _say("SELECT * FROM nowhere")(proxied)
    with pytest.raises(InternalError):
        _say("SELECT 1")(proxied)
    assert not proxied.connection.closed


def _shown(name: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return str(cursor.fetchone()[0])
