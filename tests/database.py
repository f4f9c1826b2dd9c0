"""The test database: its emptying between the tests that commit, and who waits in it for a lock."""

from typing import Final

from django.db import connection

# `migrate` has filled them, and no test changes them.
KEPT_TABLES: Final = frozenset({"django_content_type", "auth_permission"})
# A lock on a row names no database. Its connection also has a lock on the table, which does.
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
    quoted = [connection.ops.quote_name(table) for table in tables if table not in KEPT_TABLES]
    with connection.cursor() as cursor:
        cursor.execute(
            " UNION ALL ".join(f"SELECT '{table}' WHERE EXISTS (SELECT FROM {table})" for table in quoted)  # noqa: S608
        )
        filled = [table for (table,) in cursor.fetchall()]
        if filled:
            cursor.execute(f"TRUNCATE {', '.join(filled)} CASCADE")


def is_someone_waiting_for_a_lock() -> bool:
    """Return whether a connection of this database waits for a lock.

    The server's other databases do not count. It sees the present also inside a transaction, in which
    `pg_stat_activity` would repeat its first answer.
    """
    with connection.cursor() as cursor:
        cursor.execute(_WAITING)
        return bool(cursor.fetchone()[0])
