"""A database of the benchmarks' own, on the server that the settings name. Other databases stay untouched."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

from django.conf import settings
from django.db import connection

from bench import processor_time
from zekron_api.local import servers

NAME: Final = "zekron_bench"


@contextmanager
def create_temporary() -> Iterator[None]:
    """Create the database with all tables, and drop it afterwards. Start a server if none is named."""
    with servers.running(settings.VAR_DIR):
        before = str(settings.DATABASES["default"]["NAME"])
        connection.settings_dict["TEST"]["NAME"] = f"{NAME}_{before}"
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(before, verbosity=0)


def read_server_settings() -> dict[str, str]:
    """Return PostgreSQL's version and the settings that its figures depend on."""
    names = ("server_version", "fsync", "synchronous_commit", "shared_buffers")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)])
        return dict(cursor.fetchall())


def build_url() -> str:
    """Return the database of the benchmarks as a DATABASE_URL."""
    values = {name: quote(str(value), safe="") for name, value in connection.settings_dict.items()}
    login = values["USER"] + (f":{values['PASSWORD']}" if values["PASSWORD"] else "")
    port = f":{values['PORT']}" if values["PORT"] else ""
    return f"postgres://{login}@{values['HOST']}{port}/{values['NAME']}"


def read_processor_seconds() -> dict[int, float]:
    """Return the seconds of all of the server's processes together, which includes backends that have ended.

    The benchmark's own connection is left out.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        own = int(cursor.fetchone()[0])
    server = processor_time.find_parent(own)
    return {server: processor_time.read_seconds_of_children(server, without=own)}
