"""Base backups of the test's PostgreSQL, its stream of WAL, and servers that are restored from both.

A backup holds all databases of the server. It needs the local server, which lets everyone on its socket replicate.
"""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

import psycopg
from django.db import connection

from tests.processes import wait_until
from zekron_api.local import commands, postgres, unix_sockets

# The last segment is incomplete while it is received.
_RESTORE: Final = "cp {wal}/%f %p || cp {wal}/%f.partial %p"


class Backup(NamedTuple):
    """A backup: a folder in which a local server can run, and the folder of the WAL since."""

    var: Path
    wal: Path

    def restore(self, *, until: datetime) -> None:
        """Start the server of the backup, and replay the WAL up to this time. The server takes writes afterwards."""
        data = self.var / "postgres"
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"restore_command = '{_RESTORE.format(wal=self.wal)}'\n")
            settings.write(f"recovery_target_time = '{until.isoformat()}'\n")
            settings.write("recovery_target_action = 'promote'\n")
        (data / "recovery.signal").touch()
        unix_sockets.prepare(self.var)
        postgres.start(self.var)
        wait_until(lambda: not self._is_recovering())

    def stop(self) -> None:
        """Stop the server of the backup, if it runs."""
        postgres.stop(self.var)

    def _is_recovering(self) -> bool:
        with psycopg.connect(
            host=str(unix_sockets.folder(self.var)), user="postgres", dbname="postgres"
        ) as server:
            [(is_recovering,)] = server.execute("SELECT pg_is_in_recovery()").fetchall()
        return bool(is_recovering)


@contextmanager
def taken(folder: Path) -> Iterator[Backup]:
    """Take a base backup of the test's server, and receive its WAL while the block runs."""
    backup = Backup(folder / "backup", folder / "wal")
    for each in backup:
        each.mkdir()
        each.chmod(0o777)
    address = [f"--host={connection.settings_dict['HOST']}", "--username=postgres", "--no-password"]
    receiver = subprocess.Popen([_binary("pg_receivewal"), *address, f"--directory={backup.wal}"])
    try:
        # The stream begins before the base backup, so that nothing is missing between them.
        wait_until(lambda: any(backup.wal.iterdir()))
        base = [_binary("pg_basebackup"), *address, "--checkpoint=fast", "--wal-method=stream"]
        # PostgreSQL refuses a folder of another user than its own, and refuses to run as root.
        uid = commands.NOBODY if os.geteuid() == 0 else None
        commands.run([*base, f"--pgdata={backup.var / 'postgres'}"], uid=uid)
        yield backup
    finally:
        backup.stop()
        receiver.send_signal(signal.SIGINT)
        receiver.wait(timeout=30)


def finish_segment(backup: Backup) -> None:
    """Have the server begin a new segment of WAL, and return once the backup has what was written before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_walfile_name(pg_switch_wal())")
        [name] = cursor.fetchone()
    wait_until((backup.wal / name).exists)


def _binary(name: str) -> str:
    return str(postgres.binaries() / name)
