"""A connection to the test's PostgreSQL through a network that a test may freeze and cut."""

from collections.abc import Iterator
from typing import Any

import pytest

from storage.postgresql import base
from storage.postgresql.availability import Availability
from tests import processes, tcp_proxy
from tests.tcp_proxy import Proxy


@pytest.fixture
def proxy(db: None) -> Iterator[Proxy]:
    """Return a proxy before the test's PostgreSQL."""
    del db
    with tcp_proxy.before(processes.connect_to_database) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a connection of Django's over the proxy, in a process that has not seen PostgreSQL go away."""
    monkeypatch.setattr(base, "availability", Availability())
    connection = processes.database_over(proxy.port)
    yield connection
    proxy.thaw()
    connection.close()
