"""Debian's Redis with TLS and without a plain port. The Valkey of the other tests is built without TLS."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import redis

from tests import debian_packages
from tests.processes import wait_for_server
from zekron_api.local.run import free_port

LIBRARIES: Final = ("libjemalloc2", "liblzf1", "libatomic1")


@contextmanager
def running(*, folder: Path, authority: Path, certificate: Path) -> Iterator[str]:
    """Run the server with the certificate, which holds its key too, and yield its URL with the authority."""
    # The server and its checks are one program, which does the work of the name under which it is called.
    program = debian_packages.find_program("redis-check-rdb", package="redis-tools", libraries=LIBRARIES)
    port = free_port()
    options = {
        **{"port": "0", "tls-port": str(port), "bind": "127.0.0.1", "save": "", "dir": str(folder)},
        **{"tls-cert-file": str(certificate), "tls-key-file": str(certificate), "tls-auth-clients": "no"},
        "maxmemory-policy": "noeviction",
    }
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    with (folder / "redis.log").open("wb") as log:
        process = subprocess.Popen(
            ["redis-server", *arguments],  # noqa: S607 (the program is named below)
            executable=program.path,
            env=program.environment,
            stdout=log,
            stderr=log,
        )
    url = f"rediss://localhost:{port}/0?ssl_ca_certs={authority}"
    try:
        wait_for_server(lambda: _answers(url), process=process, log=folder / "redis.log")
        yield url
    finally:
        process.kill()
        process.wait()


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False
