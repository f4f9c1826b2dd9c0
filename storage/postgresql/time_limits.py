"""Time limits for PostgreSQL, so that a server that says nothing delays a process by seconds and not for ever.

Three limits work together. The server cancels a slow statement. The kernel ends a connection whose host is gone. The
client ends every wait for a server that lives and does not answer, also over a unix socket.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from django.db import connection

CONNECT_SECONDS: Final = 5
# No statement of a request or of a worker takes a second. The rest of the time is for locks and for a busy server.
STATEMENT_SECONDS: Final = 10
# A frozen process must not keep the locks of its open transaction. No transaction waits for a network or a device.
IDLE_IN_TRANSACTION_SECONDS: Final = 15
# The server's own limit has this time to arrive, before the client takes the server for silent.
GRACE_SECONDS: Final = 2
# A health check is one statement without a table.
HEALTH_CHECK_SECONDS: Final = 5
# An audit reads every row. An operator who runs a command, such as a migration that builds an index, watches it.
AUDIT_SECONDS: Final = 3600
COMMAND_SECONDS: Final = 24 * 3600

# The server's own limits of a session.
SESSION: Final = {
    "statement_timeout": STATEMENT_SECONDS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
}
# Parameters of libpq that its server never sees. Unix sockets ignore those of TCP.
CLIENT: Final[dict[str, Any]] = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    # In milliseconds. Data that was sent and is not acknowledged for this long ends the connection.
    "tcp_user_timeout": 1000 * STATEMENT_SECONDS,
}
CONNECTION: Final[dict[str, Any]] = {
    **CLIENT,
    "options": " ".join(f"-c {name}={seconds}s" for name, seconds in SESSION.items()),
}

_wait: ContextVar[float] = ContextVar("wait", default=STATEMENT_SECONDS + GRACE_SECONDS)
_statement: ContextVar[int] = ContextVar("statement", default=STATEMENT_SECONDS)


def wait_seconds() -> float:
    """Return how long this thread waits for an answer to a statement, a COMMIT or a ROLLBACK."""
    return _wait.get()


def has_own_limit() -> bool:
    """Return whether this thread's statements may take longer than usual."""
    return _statement.get() != STATEMENT_SECONDS


def session_options() -> str:
    """Return the options of a new session that differ from those of `CONNECTION`, or an empty text."""
    return f"-c statement_timeout={_statement.get()}s" if has_own_limit() else ""


@contextmanager
def waiting_at_most(*, seconds: float) -> Iterator[None]:
    """Let this thread wait for each answer at most this long while the block runs."""
    token = _wait.set(seconds)
    try:
        yield
    finally:
        _wait.reset(token)


@contextmanager
def long_statements(*, seconds: int) -> Iterator[None]:
    """Let the statements of this thread take this long while the block runs, on a connection of its own.

    Inside a transaction the server keeps its usual limit, because the connection cannot be replaced.
    """
    token = _statement.set(seconds)
    try:
        with waiting_at_most(seconds=seconds + GRACE_SECONDS):
            _replace_connection()
            yield
    finally:
        _statement.reset(token)
        _replace_connection()


def _replace_connection() -> None:
    # The next statement opens a connection with the limits of this moment.
    if not connection.in_atomic_block:
        connection.close()
