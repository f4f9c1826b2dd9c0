"""Debian's PgBouncer before the test's PostgreSQL, and the tests' connections through it."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.db import connections

from storage.postgresql import pooling, time_limits
from tests import debian_packages
from tests.processes import wait_for_server
from zekron_api.local import commands
from zekron_api.local.run import free_port

LIBRARIES: Final = ("libevent-2.1-7", "libc-ares2")
# Fewer sessions than the threads of a test, so that transactions must take turns.
SESSIONS: Final = 5
_CONFIGURATION: Final = """
[databases]
* = {place}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {users}
pool_mode = transaction
default_pool_size = {sessions}
max_client_conn = 500
query_wait_timeout = 2
server_login_retry = 1
"""


@contextmanager
def before(database: dict[str, Any], *, folder: Path) -> Iterator[int]:
    """Run PgBouncer before the server of this entry of the settings, and yield its port of localhost."""
    program = debian_packages.find_program("pgbouncer", package="pgbouncer", libraries=LIBRARIES)
    port = free_port()
    users, configuration = folder / "users.txt", folder / "pgbouncer.ini"
    users.write_text(f'"{database["USER"]}" "{database["PASSWORD"]}"\n')
    place = f"host={database['HOST']} port={database['PORT'] or 5432}"
    configuration.write_text(_CONFIGURATION.format(place=place, port=port, users=users, sessions=SESSIONS))
    with (folder / "pgbouncer.log").open("wb") as log:
        # PgBouncer refuses to run as root.
        prefix = commands.as_user(commands.NOBODY) if os.geteuid() == 0 else []
        process = subprocess.Popen(
            [*prefix, program.path, configuration], env=program.environment, stdout=log, stderr=log
        )
    try:
        wait_for_server(lambda: _listens(port), process=process, log=folder / "pgbouncer.log")
        yield port
    finally:
        process.terminate()
        process.wait()


@contextmanager
def between(*, folder: Path, over_port: int | None = None) -> Iterator[None]:
    """Turn Django's connection to PgBouncer while the block runs, with PostgreSQL itself as the direct address.

    Connections of threads that begin in the block go the same way. PgBouncer reaches PostgreSQL over the port of
    localhost, if there is one.
    """
    connection = connections["default"]
    database = connection.settings_dict
    direct = {"host": database["HOST"], "port": database["PORT"] or 5432, "user": database["USER"]}
    if database["PASSWORD"]:
        direct["password"] = database["PASSWORD"]
    changed = {
        "HOST": "127.0.0.1",
        "OPTIONS": time_limits.CLIENT,
        pooling.DIRECT: {**time_limits.CONNECTION, **direct},
    }
    former = {name: database[name] for name in ("HOST", "PORT", "OPTIONS")}
    pooling.limit_role()
    behind = {**database, "HOST": "127.0.0.1", "PORT": over_port} if over_port else database
    with before(behind, folder=folder) as port:
        connection.close()
        database.update(changed, PORT=str(port))
        try:
            yield
        finally:
            connections.close_all()
            database.update(former)
            del database[pooling.DIRECT]


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True
