"""Gates around the real PostgreSQL, at every statement and every COMMIT, and the simulator's time for its own."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from typing import Any
from unittest import mock

from django.contrib.postgres.functions import TransactionNow
from django.db import connection, connections
from django.db.models.functions import Now

from tests.simulation import actors, sessions
from tests.simulation.faults import Fault

# Nobody waits for a lock, because nobody moves while another holds one; if somebody does, the scenario must not hang.
# What a crash of this server would lose nobody looks for, and the disk is slow.
SESSION = "-c synchronous_commit=off -c lock_timeout=5000"

_WHEN_EXECUTED = object()

Execute = Callable[..., Any]


@contextmanager
def simulated(now: Callable[[], object]) -> Iterator[None]:
    """Inside, the database's own time is `now()`, and new connections are as SESSION says."""

    def as_moment(*_: object, **__: object) -> tuple[str, list[object]]:
        # Between now and the server's hearing of it others may move: then it is later.
        return "%s::timestamptz", [now() if actors.current() is None else _WHEN_EXECUTED]

    configuration = connections.settings["default"]
    options = configuration["OPTIONS"]
    session = f"{options.get('options', '')} {SESSION}".strip()
    with (
        mock.patch.dict(options, {"options": session}),
        # A question more before each piece of work: whatever cuts a connection here is noted without it.
        mock.patch.dict(configuration, {"CONN_HEALTH_CHECKS": False}),
        mock.patch.object(Now, "as_postgresql", as_moment),
        mock.patch.object(TransactionNow, "as_postgresql", as_moment, create=True),
    ):
        yield


def attach() -> None:
    """Put the gates around the calling thread's connection."""
    connection.execute_wrappers.append(_statement)
    # Django has one connection for each thread, and the proxy passes this attribute on to it.
    setattr(connection, "_commit", partial(_commit, getattr(connection, "_commit")))  # noqa: B009, B010


def _statement(execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
    actor = actors.current()
    if actor is None:
        return execute(sql, params, many, context)
    if actor.gate(_words(sql), Fault.CUT):
        sessions.cut()
    result = execute(_at(actor, sql), _heard(actor, params), many, context)
    actor.has_written = actor.has_written or _is_checked(sql)
    if not connection.in_atomic_block:
        _done(actor)
    return result


def _at(actor: actors.Actor, sql: str) -> str:
    """Return the plain statement with the simulator's time for its own."""
    return sql.replace("statement_timestamp()", f"'{actor.simulator.now.isoformat()}'::timestamptz")


def _heard(actor: actors.Actor, params: Any) -> Any:
    if isinstance(params, Mapping):
        return params
    return [actor.simulator.now if each is _WHEN_EXECUTED else each for each in params or ()] or None


def _commit(really_commit: Callable[[], None]) -> None:
    actor = actors.current()
    if actor is None or not sessions.in_transaction():
        really_commit()
        return
    if actor.gate("COMMIT", Fault.CUT):
        sessions.cut()
    really_commit()
    _done(actor)


def _done(actor: actors.Actor) -> None:
    if actor.has_written:
        actor.has_written = False
        actor.simulator.commit_checker(actor)
    if actor.gate("its answer", Fault.UNANSWERED):
        sessions.cut()


@cache
def _is_checked(sql: str) -> bool:
    """Return whether it writes what the commit checker looks at."""
    return re.search(r'(INSERT INTO|UPDATE|DELETE FROM) "?(workers_generation|billing_)', sql) is not None


@cache
def _words(sql: str) -> str:
    """Return the statement's verb and its first table."""
    table = re.search(r'(?:FROM|INTO|UPDATE) "?(\w+)', sql)
    return f"{sql.split(maxsplit=1)[0]} {table[1] if table else ''}".strip()
