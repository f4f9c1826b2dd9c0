"""The steps of docs/runbooks.md that no other test takes, on real processes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis
from django.db import connection

from storage import images
from tests import processes
from tests.test_restore import Restored, image_of, image_path, make
from tests.zekron_api import callers
from zekron_api.local import postgres, redis_server, servers
from zekron_api.local.run import free_port

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.processes,
    pytest.mark.long,
    pytest.mark.skipif(not servers.runs_postgres(), reason="the local server has the roles and programs"),
]
_WORKER: Final = "-m celery --skip-checks -A zekron_api worker -P threads -c 4 -Q gpu -n gpu@runbook"
ORDER: Final = {"prompt": "a boat", "size": "512x512"}


def test_the_password_of_postgresql_is_changed_by_a_second_role(tmp_path: Path, objects_folder: Path) -> None:
    second = "CREATE ROLE zekron2 LOGIN PASSWORD 'new' IN ROLE postgres"
    with changed(second, "ALTER ROLE zekron2 SET role = postgres", undo="DROP ROLE zekron2"):
        url = processes.database_url().replace("postgres://postgres@", "postgres://zekron2:new@")
        with psycopg.connect(url) as login:
            [users] = login.execute("SELECT current_user, session_user").fetchall()
        assert users == ("postgres", "zekron2")
        with stack(tmp_path, objects_folder, DATABASE_URL=url) as server:
            assert server.ask("/v1/generate", ORDER).status == 200


def test_the_password_of_redis_is_changed_without_a_pause(tmp_path: Path, objects_folder: Path) -> None:
    with valkey(tmp_path) as port:
        admin = redis.Redis(port=port)
        everything: Any = {"keys": ["*"], "channels": ["*"], "commands": ["+@all"]}
        admin.acl_setuser("zekron", enabled=True, passwords=["+old"], **everything)
        admin.acl_setuser("zekron", enabled=True, passwords=["+old", "+new"], **everything)
        with stack(tmp_path, objects_folder, REDIS_URL=f"redis://zekron:old@127.0.0.1:{port}/0") as server:
            assert server.ask("/v1/generate", ORDER).status == 200
        admin.acl_setuser("zekron", enabled=True, passwords=["-old"], **everything)
        with stack(tmp_path, objects_folder, REDIS_URL=f"redis://zekron:new@127.0.0.1:{port}/0") as server:
            assert server.ask("/v1/generate", ORDER).status == 200


def test_a_dump_is_restored_into_an_empty_database(tmp_path: Path, objects_folder: Path) -> None:
    owner = callers.caller()
    kept, deleted = make(owner.account, count=2)
    content = images.load(image=image_of(kept))
    dump = tmp_path / "zekron.dump"
    program("pg_dump", "--format=custom", f"--file={dump}", processes.database_url())
    owner.delete(image_path(deleted))
    images.purge()
    with changed("CREATE DATABASE restored", undo="DROP DATABASE restored WITH (FORCE)"):
        url = processes.database_url().removesuffix(connection.settings_dict["NAME"]) + "restored"
        program("pg_restore", "--exit-on-error", f"--dbname={url}", str(dump))
        restored = Restored(url, objects_folder)
        assert "1 lost images deleted." in restored.manage("finish_restore", "--delete-lost")
        assert restored.manage("audit_ledger", "--objects") == "The ledger adds up.\n"
        with stack(tmp_path, objects_folder, DATABASE_URL=url) as other:
            server = processes.Server(other.url, owner.key)
            assert server.ask(image_path(kept)).content == content
            assert server.ask(image_path(deleted)).status == 410
            assert server.ask("/v1/generate", ORDER).status == 200
        assert restored.manage("audit_ledger", "--objects", "--at-rest") == "The ledger adds up.\n"


@contextmanager
def stack(folder: Path, objects_folder: Path, **environment: str) -> Iterator[processes.Server]:
    """Run a web process and a GPU worker, and yield an account's view of them."""
    with processes.running(
        folder=folder,
        objects_folder=objects_folder,
        others={"gpu": _WORKER.split()},
        MODELS_FILE=str(processes.scripted_models(folder)),
        **environment,
    ) as started:
        yield processes.ready(started.url)


@contextmanager
def changed(*statements: str, undo: str) -> Iterator[None]:
    """Change the server by these statements while the block runs."""
    host = connection.settings_dict["HOST"]
    with psycopg.connect(host=host, user="postgres", dbname="postgres", autocommit=True) as server:
        for statement in statements:
            server.execute(statement.encode())
        try:
            yield
        finally:
            server.execute(undo.encode())


@contextmanager
def valkey(folder: Path) -> Iterator[int]:
    """Run a Valkey of its own on a port, and yield the port."""
    port = free_port()
    server = subprocess.Popen(
        [redis_server.binary(), "--port", str(port), "--dir", str(folder), "--save", ""]
    )
    try:
        processes.wait_until(lambda: _answers(port))
        yield port
    finally:
        server.terminate()
        server.wait(timeout=30)


def _answers(port: int) -> bool:
    try:
        return bool(redis.Redis(port=port).ping())
    except redis.ConnectionError:
        return False


def program(name: str, *arguments: str) -> None:
    subprocess.run([postgres.binaries() / name, *arguments], check=True, timeout=60)
