"""PgBouncer, which lends a server's session for one transaction: the limits of its sessions, and the way around it.

A session outlives the transaction of a client, so PgBouncer refuses parameters that would change it. The limits belong
to the role instead, and whatever needs limits of its own connects to PostgreSQL itself.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from django.db import connection, transaction
from psycopg import Connection, OperationalError, sql

from storage.postgresql import time_limits

log = logging.getLogger(__name__)

# The entry of a database in the settings that holds psycopg's parameters for PostgreSQL itself.
DIRECT: Final = "DIRECT"
_PLACE: Final = frozenset({"host", "port", "user", "password"})
_SHOW: Final = (
    "SELECT current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')"
)
_has_warned = False


def is_pooled(database: Mapping[str, Any]) -> bool:
    """Return whether the address of this entry of the settings is that of a PgBouncer."""
    return DIRECT in database


def bypass(parameters: Mapping[str, Any], database: Mapping[str, Any]) -> dict[str, Any]:
    """Return psycopg's parameters for PostgreSQL itself in place of those for PgBouncer."""
    of_the_pool = _PLACE | database["OPTIONS"].keys()
    kept = {name: value for name, value in parameters.items() if name not in of_the_pool}
    return {**kept, **database[DIRECT]}


def limit_role() -> None:
    """Give the role that logged in the time limits as defaults in this database. May be called again."""
    with transaction.atomic(), connection.cursor() as cursor:
        # PostgreSQL reads the defaults of the login, which may take the rights of another role.
        cursor.execute("SET LOCAL ROLE NONE")
        for name, seconds in time_limits.SESSION.items():
            statement = "ALTER ROLE CURRENT_USER IN DATABASE {} SET {} = {}"
            parts = sql.Identifier(connection.settings_dict["NAME"]), sql.Identifier(name), f"{seconds}s"
            cursor.execute(sql.SQL(statement).format(*parts))


def check(lent: "Connection[Any]") -> None:
    """Ask a new session for its limits, and log once in a process that it has none.

    PgBouncer takes clients also while PostgreSQL is away. The question shows it, and raises psycopg.OperationalError
    then. The client's own limits hold in any case.
    """
    global _has_warned  # noqa: PLW0603 (one line a process)
    # Outside of a transaction, because Django is not at work on the connection yet.
    lent.autocommit = True
    try:
        found = lent.execute(_SHOW).fetchone()
    except OperationalError:
        lent.close()
        raise
    if found is None or "0" not in found or _has_warned:
        return
    _has_warned = True
    log.error(
        "PgBouncer's sessions have no statement_timeout or no idle_in_transaction_session_timeout. Run `release`, and"
        " RECONNECT in PgBouncer's console."
    )
