"""The preparation of a stack's database in a process of its own: migrations, then an account with a key and an owner.

The process loads Django while the servers start. It prints one line after the migrations, one with the key and one with
a link that signs the owner in.
"""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zekron_api.local import commands, logs

BASE_DIR: Final = Path(__file__).resolve().parent.parent.parent
MIGRATED: Final = "migrated"
# The user name of the person who owns every account of a local stack.
OWNER: Final = "demo"


class PreparationFailed(Exception):
    """The database could not be migrated, or the account not be opened."""


@dataclass(frozen=True)
class Preparation:
    """A running preparation."""

    process: "subprocess.Popen[str]"
    log: Path

    def wait_for_migrations(self) -> None:
        """Return when the database has all migrations. Raises PreparationFailed."""
        self._read_line()

    def wait_for_key(self) -> str:
        """Return a key of the new account. Call it after `wait_for_migrations`. Raises PreparationFailed."""
        return self._read_line()

    def wait_for_link(self) -> str:
        """Return a link into the console. Call it after `wait_for_key`. Raises PreparationFailed."""
        return self._read_line()

    def _read_line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline().strip()
        if not line:
            raise PreparationFailed(f"the database could not be prepared:\n{logs.tail(self.log)}")
        return line


def has_all_migrations(database_url: str, *, project: Path = BASE_DIR) -> bool:
    """Return whether the database has every migration of the project's packages.

    It reads one table and needs no Django, whose start takes a second. An unreadable database has none.
    """
    import psycopg  # noqa: PLC0415 - a program that starts no servers does without it

    files = project.glob("*/migrations/[0-9]*.py")
    try:
        with psycopg.connect(database_url) as connection:
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    except psycopg.Error:
        # The preparation meets the same error and reports it.
        return False
    return applied >= {(file.parent.parent.name, file.stem) for file in files}


@contextlib.contextmanager
def started(*, account_name: str, log: Path) -> Iterator[Preparation]:
    """Prepare the database while the block runs, with errors in the log. On the way out the process has ended."""
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = [sys.executable, "-m", "zekron_api.local.preparation", account_name]
    with log.open("w") as errors:
        # The terminal's Ctrl-C reaches only the parent, which ends this process too.
        process = subprocess.Popen(
            commands.tied(command, signal_name="TERM"),
            cwd=BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    with process:
        try:
            yield Preparation(process, log)
        finally:
            process.terminate()


def main() -> None:
    """Migrate the database, print MIGRATED, open an account, and print its key and its owner's link."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
    # The parent imports this module too, and needs no Django.
    import django  # noqa: PLC0415

    django.setup()
    from django.conf import settings  # noqa: PLC0415
    from django.contrib.auth.models import User  # noqa: PLC0415
    from django.core.management import call_command  # noqa: PLC0415

    from billing import accounts, keys, ledger, memberships, money  # noqa: PLC0415
    from billing.membership_models import Role  # noqa: PLC0415
    from storage.postgresql import time_limits  # noqa: PLC0415
    from zekron_api.local import servers  # noqa: PLC0415

    with servers.running(settings.VAR_DIR), time_limits.long_statements(seconds=time_limits.COMMAND_SECONDS):
        call_command("migrate", interactive=False, verbosity=0)
        _say(MIGRATED)
        account = ledger.open_account(
            name=sys.argv[1], opening_micros=money.parse_usd(accounts.DEFAULT_OPENING_USD), actor="make run"
        )
        _, key = keys.issue(account_id=account.pk)
        _say(key)
        # Without a password, only a link signs this person in.
        person = User.objects.filter(username=OWNER).first() or User.objects.create_user(OWNER)
        memberships.add(user_id=person.pk, account_id=account.pk, role=Role.OWNER)
        call_command("sign_in_link", OWNER, next=f"/console/{account.pk}/", stdout=(link := io.StringIO()))
        _say(link.getvalue().strip())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
