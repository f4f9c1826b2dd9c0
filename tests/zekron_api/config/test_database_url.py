"""The database's entry in the settings: several hosts, a PgBouncer, and the way around it."""

from typing import Any

import dj_database_url
import pytest
from psycopg.conninfo import make_conninfo

from storage.postgresql import pooling, time_limits
from storage.postgresql.base import DatabaseWrapper
from zekron_api.config import database_url
from zekron_api.config.env import InvalidVariable

POOL = "postgres://zekron:pw@pool.example.com:6432/zekron?sslmode=disable"
ITSELF = "postgres://zekron:other@db.example.com/zekron?sslmode=require"


def _entry(url: str, direct: str | None = None) -> dict[str, Any]:
    parsed = None if direct is None else dj_database_url.parse(direct)
    return {**database_url.entry(dj_database_url.parse(url), direct=parsed), "TIME_ZONE": None}


def _parameters(entry: dict[str, Any]) -> dict[str, Any]:
    return DatabaseWrapper(entry).get_connection_params()


def test_several_hosts_reach_libpq_with_the_wish_for_the_one_that_takes_writes() -> None:
    parameters = _parameters(_entry("postgres://u:p@h1,h2:5432/db?target_session_attrs=read-write"))
    assert (parameters["host"], parameters["port"]) == ("h1,h2", 5432)
    assert parameters["target_session_attrs"] == "read-write"
    assert make_conninfo(host=parameters["host"], port=parameters["port"])


def test_a_pool_gets_no_options_of_a_session_and_keeps_the_limits_of_the_client() -> None:
    parameters = _parameters(_entry(POOL, ITSELF))
    assert "options" not in parameters
    assert parameters["connect_timeout"] == time_limits.CONNECT_SECONDS
    assert (parameters["host"], parameters["port"], parameters["sslmode"]) == (
        "pool.example.com",
        6432,
        "disable",
    )


def test_long_statements_know_nothing_of_the_pool() -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(time_limits, "session_options", lambda: "-c statement_timeout=60s")
        parameters = _parameters(_entry(POOL, ITSELF))
    assert (parameters["host"], parameters["password"], parameters["sslmode"]) == (
        "db.example.com",
        "other",
        "require",
    )
    assert "port" not in parameters
    assert parameters["options"].endswith(
        "-c idle_in_transaction_session_timeout=15s -c statement_timeout=60s"
    )


def test_without_a_pool_there_is_no_other_address() -> None:
    assert not pooling.is_pooled(_entry(ITSELF))


@pytest.mark.parametrize("direct", ["postgres://other@db/zekron", "postgres://zekron@db/other"])
def test_another_user_or_database_of_the_direct_address_stops_the_start(direct: str) -> None:
    with pytest.raises(InvalidVariable, match="DATABASE_DIRECT_URL names another user or database"):
        _entry(POOL, direct)
