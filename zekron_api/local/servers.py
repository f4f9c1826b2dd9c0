"""The local PostgreSQL and Redis: their addresses, and their start and stop with their first and last user.

Every process that uses the servers holds a shared lock on one file. A process that leaves tries to get an exclusive
lock. If it succeeds, no other process uses the servers, and it stops them. The servers therefore never stop under
another command, whichever command started them, and the last command leaves nothing behind. If the last user was killed
by SIGKILL, the servers stay until the next command uses and then stops them.
"""

import contextlib
import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Final
from urllib.parse import quote

from zekron_api.local import commands, postgres, redis_server, unix_sockets

FAILURES: Final = (
    postgres.PostgresFailed,
    redis_server.RedisFailed,
    commands.CommandFailed,
    unix_sockets.UnsafeFolder,
)
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)
Handler = Callable[[int, FrameType | None], object]


class LocalServicesFailed(Exception):
    """The local servers cannot be used."""


def postgres_url(var: Path) -> str:
    """Return the address of the local PostgreSQL of `var`, whether it runs or not."""
    return f"postgres://postgres@{quote(str(unix_sockets.folder(var)), safe='')}/{postgres.DATABASE}"


def redis_url(var: Path, *, db: int = 0) -> str:
    """Return the address of the local Redis of `var`, whether it runs or not."""
    return f"unix://{quote(str(unix_sockets.folder(var) / 'redis.sock'))}?db={db}"


@contextlib.contextmanager
def running(var: Path) -> Iterator[None]:
    """Run the servers that DATABASE_URL and REDIS_URL do not replace, while the block runs.

    With both variables set nothing is started. Any number of processes may enter at once, and one process may enter
    again inside. SIGTERM and SIGHUP end the process by SystemExit, so that the servers are stopped on the way out.
    Raises LocalServicesFailed.
    """
    needed = [
        server
        for variable, server in (("DATABASE_URL", postgres), ("REDIS_URL", redis_server))
        if not _is_set(variable)
    ]
    if not needed:
        yield
        return
    with ending_signals_raise(), _make_folder(var).open("a") as users:
        try:
            with _plain_failures(var), _ending_signals_wait(), _one_at_a_time(var):
                _join(var, users.fileno(), needed)
            yield
        finally:
            with _plain_failures(var), _ending_signals_wait(), _one_at_a_time(var):
                _leave(var, users.fileno())


def runs_postgres() -> bool:
    """Return whether `running` runs PostgreSQL, because DATABASE_URL does not name another."""
    return not _is_set("DATABASE_URL")


@contextlib.contextmanager
def ending_signals_raise() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise SystemExit while the block runs, so that started processes end in order."""

    def end(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    with _handlers({each: end for each in ENDING if signal.getsignal(each) == signal.SIG_DFL}):
        yield


def _is_set(variable: str) -> bool:
    return bool(os.environ.get(variable) or os.environ.get(f"{variable}_FILE"))


def _make_folder(var: Path) -> Path:
    with _plain_failures(var):
        var.mkdir(mode=0o700, parents=True, exist_ok=True)
        users = var / "services.users"
        users.touch()
    return users


def _join(var: Path, users: int, needed: Sequence[ModuleType]) -> None:
    fcntl.flock(users, fcntl.LOCK_SH)
    unix_sockets.prepare(var)
    for server in needed:
        server.start(var)


def _leave(var: Path, users: int) -> None:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        # If this lock lasted until the file is closed, two processes that leave at once would each see the other as a
        # user. Linux has released it by now, but flock does not guarantee that.
        fcntl.flock(users, fcntl.LOCK_UN)
        return
    redis_server.stop(var)
    postgres.stop(var)


@contextlib.contextmanager
def _one_at_a_time(var: Path) -> Iterator[None]:
    with (var / "services.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _plain_failures(var: Path) -> Iterator[None]:
    try:
        yield
    except FAILURES as error:
        raise LocalServicesFailed(str(error)) from error
    except PermissionError as error:
        raise LocalServicesFailed(f"{var} belongs to another user: {error}") from error


@contextlib.contextmanager
def _ending_signals_wait() -> Iterator[None]:
    """Delay signals until the servers have started or stopped, which takes seconds. Then raise the first one."""
    arrived: list[int] = []
    with _handlers(dict.fromkeys([signal.SIGINT, *ENDING], lambda number, _frame: arrived.append(number))):
        yield
    if arrived:
        signal.raise_signal(arrived[0])


@contextlib.contextmanager
def _handlers(handlers: Mapping[int, Handler]) -> Iterator[None]:
    # Python lets only the main thread set handlers, and runs them only there.
    if threading.current_thread() is not threading.main_thread():
        handlers = {}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
