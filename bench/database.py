"""A database of the benchmarks' own, on the server that the settings name; nobody's data is touched."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.db import connection

from zekron_api.local import services

NAME = "zekron_bench"


@contextmanager
def temporary() -> Iterator[None]:
    """Makes the database with all tables, and drops it in the end; a server is started where none is named."""
    with services.running(settings.VAR_DIR):
        before = str(settings.DATABASES["default"]["NAME"])
        connection.settings_dict["TEST"]["NAME"] = f"{NAME}_{before}"
        connection.creation.create_test_db(verbosity=0, autoclobber=True)
        try:
            yield
        finally:
            connection.creation.destroy_test_db(before, verbosity=0)
