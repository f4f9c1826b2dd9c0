"""The test database: its emptying between the tests that commit, and work beside an open transaction."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from django.conf import settings
from django.db import connection

from tests.processes import wait_until

T = TypeVar("T")

# `migrate` has filled them, and no test changes them.
KEPT_TABLES: Final = frozenset({"django_content_type", "auth_permission"})
# The server may have other databases. A lock on a row names none, but its connection also has one on the table.
_WAITING: Final = """
SELECT EXISTS (SELECT FROM pg_locks AS waiting JOIN pg_locks AS held USING (pid)
    WHERE NOT waiting.granted AND held.granted
        AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""


def truncate_filled_tables() -> None:
    """Empty every table that has a row.

    Django's `flush` truncates every table and then makes content types and permissions again. That costs 80 ms of
    CPU a test, and this costs 1 ms.
    """
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    # The table of the cache has no model.
    tables.append(str(settings.CACHES["default"]["LOCATION"]))
    quoted = [connection.ops.quote_name(table) for table in tables if table not in KEPT_TABLES]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in quoted)  # noqa: S608
        )
        filled = [table for (table,) in cursor.fetchall()]
        if filled:
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")


def start_elsewhere(work: Callable[[], T]) -> "Future[T]":
    """Run the work in a thread with its own connection, and return once it has ended or waits for a lock.

    A caller in a transaction thus learns whether the work waits for it: then the result is not there yet.
    """

    def run() -> T:
        try:
            return work()
        finally:
            connection.close()

    pool = ThreadPoolExecutor(1)
    future = pool.submit(run)
    pool.shutdown(wait=False)
    wait_until(lambda: future.done() or is_someone_waiting_for_a_lock())
    return future


def is_someone_waiting_for_a_lock() -> bool:
    """Look at the locks themselves. Inside a transaction, `pg_stat_activity` would repeat its first answer."""
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return bool(cursor.fetchone()[0])
