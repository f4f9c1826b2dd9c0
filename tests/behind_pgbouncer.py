"""A plugin of pytest (`-p tests.behind_pgbouncer`) that puts a PgBouncer between all tests and their PostgreSQL."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from pytest_django import DjangoDbBlocker

from tests import pgbouncer


@pytest.fixture(scope="session", autouse=True)
def behind_pgbouncer(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Turn every connection to PgBouncer, also those of the processes that tests start."""
    del django_db_setup
    with ExitStack() as stack:
        with django_db_blocker.unblock():
            stack.enter_context(pgbouncer.between(folder=tmp_path_factory.mktemp("pgbouncer")))
        yield
        with django_db_blocker.unblock():
            stack.close()
