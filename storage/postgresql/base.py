"""The backend's classes, at the place where Django looks for them."""

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any, Final, TypeVar

import psycopg
from django.db.backends.postgresql import base
from psycopg import errors

from storage.postgresql import pooling, time_limits
from storage.postgresql.availability import availability

T = TypeVar("T")

# Errors of another class that only say that this server cannot be used at this moment: it is a standby since a
# failover, or it ended this session.
_CANNOT_SERVE: Final = (
    errors.ReadOnlySqlTransaction,
    errors.IdleInTransactionSessionTimeout,
    errors.IdleSessionTimeout,
)


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that waits for no answer longer than `time_limits.wait_seconds()`, and is closed after that."""

    def wait(self, gen: Generator[Any, Any, T], interval: float = 0.1, timeout: float | None = None) -> T:
        """Wait for what every statement, COMMIT, ROLLBACK and fetch waits for. Raise OperationalError.

        After a limit of this class the outcome of the statement is unknown.
        """
        seconds = time_limits.wait_seconds() if timeout is None else timeout
        try:
            return super().wait(gen, interval, seconds)
        except errors._WaitTimeout:
            if timeout is not None:
                raise
            self.pgconn.finish()
            message = f"PostgreSQL did not answer within {seconds:g} s, so the connection is closed"
            raise psycopg.OperationalError(message) from None
        except _CANNOT_SERVE as error:
            self.pgconn.finish()
            raise psycopg.OperationalError(str(error)) from error


class DatabaseWrapper(base.DatabaseWrapper):
    """Django's connection of one thread, made of bounded connections."""

    # Django looks up psycopg's errors here too.
    Database: Any = SimpleNamespace(**{**vars(psycopg), "connect": BoundedConnection.connect})
    # Whether the connection's session is one that PgBouncer lends for each transaction.
    _is_lent = False

    def get_connection_params(self) -> dict[str, Any]:
        """Return psycopg's parameters, with the limits of this moment, which PgBouncer would not pass on."""
        parameters: dict[str, Any] = super().get_connection_params()
        more = time_limits.session_options()
        if more and pooling.is_pooled(self.settings_dict):
            parameters = pooling.bypass(parameters, self.settings_dict)
        if more:
            parameters["options"] = f"{parameters.get('options', '')} {more}".strip()
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """Connect, unless PostgreSQL did not answer a moment ago."""
        self._is_lent = pooling.is_pooled(self.settings_dict) and not time_limits.has_own_limit()
        with availability.connecting():
            made = super().get_new_connection(conn_params)
            if self._is_lent:
                pooling.check(made)
        return made

    def chunked_cursor(self) -> Any:
        """Return a cursor of the server, or one of the client where the next fetch may find another session."""
        # Only a connection that is open tells which of the two it is.
        self.ensure_connection()
        return self.cursor() if self._is_lent else super().chunked_cursor()

    def is_usable(self) -> bool:
        """Return whether the connection answers, within a short time."""
        with time_limits.waiting_at_most(seconds=time_limits.HEALTH_CHECK_SECONDS):
            return bool(super().is_usable())
