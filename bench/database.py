"""A database of the benchmarks' own, on the server that the settings name; nobody's data is touched."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from zekron_api.local import servers

NAME = "zekron_bench"


@contextmanager
def temporary() -> Iterator[None]:
    """Makes the database with all tables, and drops it in the end; a server is started where none is named."""
    with servers.running(settings.VAR_DIR):
        before = str(settings.DATABASES["default"]["NAME"])
        connection.settings_dict["TEST"]["NAME"] = f"{NAME}_{before}"
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(before, verbosity=0)


def settings_of_server() -> dict[str, str]:
    """Which PostgreSQL it was, and whether a COMMIT waits for the disk, on which its figures depend."""
    names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)])
        return dict(cursor.fetchall())
