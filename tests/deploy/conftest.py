"""Fixtures of the tests that run images: the image `web`, a container of it, and the variables that it gets."""

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from django.conf import settings

from tests import processes, tcp_proxy
from tests.deploy import images
from tests.storage import s3
from zekron_api.local.run import free_port


@pytest.fixture(scope="session")
def image() -> str:
    """Build the target `web`."""
    return images.build("web")


@pytest.fixture
def container(image: str) -> Iterator[str]:
    """Make a container of the image."""
    with images.container(image) as identifier:
        yield identifier


@pytest.fixture
def environment(own_server: s3.Server) -> Iterator[dict[str, str]]:
    """Give the container the test's servers over TCP, and the secrets of this process, which works for it."""
    redis = urlsplit(settings.REDIS_URL)
    keys = (f"{name}:{base64.b64encode(key).decode()}" for name, key in settings.MASTER_KEYS.items())
    with ExitStack() as stack:
        database = stack.enter_context(tcp_proxy.before(processes.connect_to_database))
        messages = stack.enter_context(tcp_proxy.before(tcp_proxy.to_unix_socket(Path(unquote(redis.path)))))
        yield {
            "DATABASE_URL": processes.database_url(host="127.0.0.1", port=database.port),
            "REDIS_URL": f"redis://127.0.0.1:{messages.port}/{redis.query.removeprefix('db=')}",
            "STORAGE_URL": own_server.url("prefix"),
            "SECRET_KEY": settings.SECRET_KEY,
            "MASTER_KEYS": ",".join(keys),
            "ALLOWED_HOSTS": "127.0.0.1",
            "PUBLIC_URL": "http://127.0.0.1",
            "METRICS_PORT": str(free_port()),
            **s3.CREDENTIALS,
        }
