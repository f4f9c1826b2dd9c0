"""Database connection of the calling thread: what the simulation must know of it and do to it."""

from typing import Any, NoReturn

from django.db import OperationalError, connection
from psycopg.pq import TransactionStatus


def in_transaction() -> bool:
    """Return whether a transaction is open on the server, which may hold locks."""
    session = _session()
    return session is not None and session.pgconn.transaction_status not in (
        TransactionStatus.IDLE,
        TransactionStatus.UNKNOWN,
    )


def roll_back() -> None:
    """End what is open, as the server does a moment after its client has died; but before anybody else looks."""
    if in_transaction():
        _session().rollback()


def cut() -> NoReturn:
    """End the connection under whoever uses it, as a restart of the server or a lost network does."""
    roll_back()
    if session := _session():
        session.close()
    # What Django notes itself when the server's driver raises.
    connection.errors_occurred = True
    raise OperationalError("the connection was lost")


def _session() -> Any:
    return connection.connection
