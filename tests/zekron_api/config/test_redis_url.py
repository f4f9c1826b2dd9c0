"""Redis over TLS: each client of it verifies the server's certificate and host name."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import redis
from limits.storage import RedisStorage
from pytest_django import Settings

from tests import tls
from tests.processes import ROOT
from workers.messaging import redis_client
from zekron_api.config.redis_url import celery_broker_url, celery_tls
from zekron_api.waiting.completion_waiters import CompletionWaiters

# The sender of hints and the worker have a connection each. A status of 2 says that only one of them was refused.
CELERY = """
import sys
from zekron_api.celery import app
refusals = []
for connect in (app.connection_for_write, app.connection_for_read):
    with connect() as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0)
            assert connection.default_channel.client.ping()
        except Exception as error:
            refusals.append(error)
if refusals:
    print(*refusals, file=sys.stderr)
    sys.exit(1 if len(refusals) == 2 else 2)
"""


def _by_the_client(url: str) -> None:
    with redis.Redis.from_url(url, **redis_client.client_options()) as client:
        client.ping()


def _by_the_rates(url: str) -> None:
    storage = RedisStorage(url, **redis_client.client_options())
    storage.storage.ping()
    storage.storage.close()


def _by_the_waiting_room(url: str) -> None:
    async def ping() -> None:
        async with CompletionWaiters.connect(url) as client:
            await client.ping()

    asyncio.run(ping())


def _by_celery(url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CELERY],
        cwd=ROOT,
        env={**os.environ, "REDIS_URL": url, "DEBUG": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in {0, 1}, ended.stderr
    if ended.returncode:
        raise redis.ConnectionError(ended.stderr)


CLIENTS: dict[str, Callable[[str], None]] = {
    "redis_client": _by_the_client,
    "rate_limit": _by_the_rates,
    "completion_waiters": _by_the_waiting_room,
    "celery": _by_celery,
}


@pytest.fixture
def tls_server(
    tmp_path: Path, settings: Settings, request: pytest.FixtureRequest
) -> Iterator[tuple[int, Path]]:
    """Serve the test's Redis with TLS as the host that the test names. Return its port and its authority."""
    authority, own = tls.issue(tmp_path, host=request.param)
    parts = urlsplit(settings.REDIS_URL)

    def connect() -> socket.socket:
        if parts.scheme != "unix":
            return socket.create_connection((parts.hostname, parts.port or 6379))
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(unquote(parts.path))
        return connection

    with tls.ended_before(connect, certificate=own) as port:
        yield port, authority


def _url(port: int, **options: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return f"rediss://localhost:{port}/0?{query}" if query else f"rediss://localhost:{port}/0"


@pytest.mark.processes
@pytest.mark.parametrize("tls_server", ["localhost"], indirect=True)
@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_takes_a_certificate_of_the_host_by_a_known_authority(
    name: str, tls_server: tuple[int, Path]
) -> None:
    port, authority = tls_server
    CLIENTS[name](_url(port, ssl_ca_certs=authority))


@pytest.mark.processes
@pytest.mark.parametrize("tls_server", ["other.example"], indirect=True)
@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_refuses_a_certificate_of_another_host(name: str, tls_server: tuple[int, Path]) -> None:
    port, authority = tls_server
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        CLIENTS[name](_url(port, ssl_ca_certs=authority))


@pytest.mark.processes
@pytest.mark.parametrize("tls_server", ["localhost"], indirect=True)
@pytest.mark.parametrize("name", CLIENTS)
def test_each_client_refuses_a_certificate_of_an_unknown_authority(
    name: str, tls_server: tuple[int, Path]
) -> None:
    port, _ = tls_server
    with pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
        CLIENTS[name](_url(port))


@pytest.mark.parametrize(
    ("url", "broker_url", "tls_options"),
    [
        ("redis://host:1/2", "redis://host:1/2", False),
        ("unix:///a%20b/redis.sock?db=3", "redis+socket:///a%20b/redis.sock?virtual_host=3", False),
        ("rediss://:pw@host/0", "rediss://:pw@host/0", {}),
        ("rediss://host/0?ssl_ca_certs=/a%20b.pem", "rediss://host/0", {"ssl_ca_certs": "/a b.pem"}),
        ("rediss://host/0?ssl_check_hostname=0", "rediss://host/0", {"ssl_check_hostname": False}),
        ("rediss://host/0?ssl_cert_reqs=none&x=1", "rediss://host/0?x=1", {"ssl_cert_reqs": "none"}),
    ],
)
def test_celery_gets_the_options_of_the_url_and_verifies_unless_they_say_otherwise(
    url: str, broker_url: str, tls_options: Any
) -> None:
    verified = {"ssl_cert_reqs": "required", "ssl_check_hostname": True}
    assert celery_broker_url(url) == broker_url
    assert celery_tls(url) == (tls_options if tls_options is False else {**verified, **tls_options})


@pytest.mark.parametrize("url", ["redis://h:6379/15", "redis://h:6379?db=15", "redis://h:6379/3?db=15"])
def test_celery_gets_the_database_that_the_other_clients_take(url: str) -> None:
    assert celery_broker_url(url) == "redis://h:6379/15"
    assert redis.Redis.from_url(url).connection_pool.connection_kwargs["db"] == 15
