"""A PostgreSQL of a test's own on an address of loopback, which may have a standby, die and be promoted."""

import os
from pathlib import Path
from typing import Any

import psycopg

from zekron_api.local import commands, postgres

SECONDS = 60


class PostgresServer:
    """A server in a folder. Its address and port name it, and everyone on this machine may log in."""

    def __init__(self, *, folder: Path, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self._folder = folder
        self._data = folder / f"postgres-{address}"
        # PostgreSQL refuses to run as root.
        self._uid = commands.NOBODY if os.geteuid() == 0 else None

    def create(self, database: str) -> None:
        """Make and start the server with an empty database of this name."""
        self._make_folder()
        self._run("initdb", f"--pgdata={self._data}", "--username=postgres", "--auth=trust", "--no-sync")
        self.start()
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {database}")

    def follow(self, primary: "PostgresServer") -> None:
        """Make and start the server as a standby of the other one."""
        self._make_folder()
        source = f"host={primary.address} port={primary.port} user=postgres application_name=standby"
        options = ("--write-recovery-conf", "--checkpoint=fast", "--no-sync")
        self._run("pg_basebackup", f"--pgdata={self._data}", f"--dbname={source}", *options)
        self.start()

    def start(self) -> None:
        """Start the server, and return once it takes connections."""
        log = self._folder / f"postgres-{self.address}.log"
        options = f"-c listen_addresses={self.address} -c port={self.port} -c unix_socket_directories="
        self._control("start", f"--log={log}", f"--options={options}")

    def crash(self) -> None:
        """End the server as if its machine had lost power."""
        self._control("stop", "--mode=immediate")

    def close(self) -> None:
        """End the server if it runs."""
        if (self._data / "postmaster.pid").exists():
            self.crash()

    def promote(self) -> None:
        """Let the standby take writes."""
        self._control("promote")

    def connect(self, database: str) -> "psycopg.Connection[Any]":
        """Open a connection in which each statement commits by itself."""
        return psycopg.connect(
            host=self.address, port=self.port, user="postgres", dbname=database, autocommit=True
        )

    def _make_folder(self) -> None:
        self._data.mkdir(mode=0o700)
        if self._uid is not None:
            os.chown(self._data, self._uid, self._uid)
            os.chown(self._folder, self._uid, self._uid)

    def _control(self, action: str, *options: str) -> None:
        self._run("pg_ctl", action, f"--pgdata={self._data}", "--wait", "--silent", *options)

    def _run(self, program: str, *arguments: str) -> None:
        commands.run([str(postgres.binaries() / program), *arguments], uid=self._uid, timeout_seconds=SECONDS)
