"""PgBouncer in transaction mode before PostgreSQL: the core of the service works, and every limit holds."""

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import OperationalError, connection

from billing.models import Account
from storage.postgresql import base, pooling, time_limits
from storage.postgresql.availability import UNAVAILABLE, Availability
from tests import factories, pgbouncer, processes, tcp_proxy
from workers.audit import scheduled
from workers.gpu_worker import attempt
from workers.models import Generation, Status

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.processes]
CLIENTS = 3 * pgbouncer.SESSIONS


@pytest.fixture
def pooled(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """Put a PgBouncer between the test and its PostgreSQL."""
    del transactional_db
    with pgbouncer.between(folder=tmp_path):
        yield


def test_many_generations_are_made_and_settled_over_few_sessions(pooled: None) -> None:
    owner = factories.account()
    made = factories.at_once(CLIENTS, lambda _: factories.submit(owner, now=None))
    with factories.attempt_context(factories.StandInEngine()) as context:
        factories.at_once(CLIENTS, lambda _: attempt.run_next(context=context))
    rows = Generation.objects.filter(pk__in=[each.pk for each in made])
    assert set(rows.values_list("status", flat=True)) == {Status.COMPLETED}
    settled = Account.objects.get(pk=owner.pk)
    spent_micros = CLIENTS * factories.QUOTE_MICROS
    assert (settled.reserved_micros, owner.balance_micros - settled.balance_micros) == (0, spent_micros)
    assert scheduled.run().problem_count == 0
    call_command("audit_ledger", "--at-rest")


def test_rows_that_come_in_pieces_do_not_depend_on_one_session(pooled: None) -> None:
    pieces = Permission.objects.order_by("pk").iterator(chunk_size=2)
    first = next(pieces)

    def read_others(_: int) -> int:
        return Account.objects.count()

    factories.at_once(CLIENTS, read_others)
    assert first.pk not in [each.pk for each in pieces]


def test_a_postgresql_that_is_away_behind_it_counts_as_away_until_it_is_back(
    transactional_db: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del transactional_db
    monkeypatch.setattr(base, "availability", Availability())
    itself = partial(processes.connect_to_database, dict(connection.settings_dict))
    with (
        tcp_proxy.before(itself) as network,
        pgbouncer.between(folder=tmp_path, over_port=network.port),
    ):
        assert not Account.objects.exists()
        network.cut()
        for _ in range(3):
            with pytest.raises(UNAVAILABLE):
                Account.objects.exists()
            connection.close()
        # PgBouncer takes clients all the time, and would let each of them wait.
        with pytest.raises(UNAVAILABLE, match="did not answer a moment ago"):
            Account.objects.exists()
        network.restore()
        processes.wait_until(_answers)


def _answers() -> bool:
    try:
        return not Account.objects.exists()
    except UNAVAILABLE:
        connection.close()
        return False


def test_the_role_has_the_limits_and_long_statements_pass_by(pooled: None) -> None:
    assert _shown("statement_timeout") == f"{time_limits.STATEMENT_SECONDS}s"
    assert _shown("idle_in_transaction_session_timeout") == f"{time_limits.IDLE_IN_TRANSACTION_SECONDS}s"
    with time_limits.long_statements(seconds=3600):
        assert _shown("statement_timeout") == "1h"
        assert _host() == connection.settings_dict[pooling.DIRECT]["host"]
    assert _shown("statement_timeout") == f"{time_limits.STATEMENT_SECONDS}s"
    assert _host() == "127.0.0.1"


def test_sessions_without_limits_are_logged_once_and_a_migration_gives_them_back(
    pooled: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pooling, "_has_warned", False)
    name = connection.settings_dict["NAME"]
    with time_limits.long_statements(seconds=60), connection.cursor() as cursor:
        cursor.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} RESET ALL")
    for _ in range(pgbouncer.SESSIONS):
        _begin_session()
    assert _shown("statement_timeout") == "0"
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage().partition(". ")[0] for record in errors] == [
        "PgBouncer's sessions have no statement_timeout or no idle_in_transaction_session_timeout"
    ]
    with time_limits.long_statements(seconds=60):
        call_command("migrate", verbosity=0)
    _begin_session()
    assert _shown("statement_timeout") == f"{time_limits.STATEMENT_SECONDS}s"


@pytest.fixture
def second_login() -> Iterator[str]:
    """Let the connection be that of a login which takes the rights of the first one."""
    first, name = connection.settings_dict["USER"], "zekron_second"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {name} LOGIN IN ROLE {first}")
        cursor.execute(f"SET SESSION AUTHORIZATION {name}")
        cursor.execute(f"SET ROLE {first}")
    try:
        yield name
    finally:
        with connection.cursor() as cursor:
            cursor.execute("RESET SESSION AUTHORIZATION")
            cursor.execute(f"DROP ROLE {name}")


def test_a_second_login_with_the_rights_of_the_first_gets_the_limits(second_login: str) -> None:
    pooling.limit_role()
    with connection.cursor() as cursor:
        cursor.execute("SELECT setconfig FROM pg_db_role_setting WHERE setrole = %s::regrole", [second_login])
        assert cursor.fetchall() == [([f"{name}={limit}s" for name, limit in time_limits.SESSION.items()],)]
        cursor.execute("SELECT current_user")
        assert cursor.fetchone() == (connection.settings_dict["USER"],)


def _begin_session() -> None:
    """End a session that PgBouncer keeps, so that it begins another one."""
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    connection.close()
    connection.ensure_connection()


def _host() -> Any:
    assert connection.connection is not None
    return connection.connection.info.host


def _shown(name: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW {name}")
        return cursor.fetchone()[0]
