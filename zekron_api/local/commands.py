"""Subprocesses of the local servers: their user, their session, and the command behind a process id."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

NOBODY: Final = 65534


class CommandFailed(Exception):
    """A command of a server failed."""


def run(
    command: Sequence[str], *, uid: int | None = None, stdin: str = "", timeout_seconds: float = 120
) -> None:
    """Run the command to its end in its own session, so that the terminal's Ctrl-C does not reach its children.

    With `uid` the command runs as that user, which requires root. Raises CommandFailed with the command's output.
    """
    result = subprocess.run(
        command if uid is None else [*as_user(uid), *command],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        umask=0o077,
        start_new_session=True,
        timeout=timeout_seconds,
        check=False,
    )
    if result.returncode:
        raise CommandFailed(f"{Path(command[0]).name} failed: {result.stdout.strip() or result.returncode}")


def as_user(uid: int) -> list[str]:
    """Return the prefix of a command with which root runs it as `uid`. Raises CommandFailed without setpriv.

    PostgreSQL refuses to run as root. Another user could not enter folders that only root may enter, and their
    permissions are not ours to change. The command therefore keeps one capability of root for that.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CommandFailed(
            "PostgreSQL does not run as root, and setpriv, which starts it as another user, is missing. "
            "Choose one: install util-linux, run as an ordinary user, or set DATABASE_URL."
        )
    return [
        setpriv,
        f"--reuid={uid}",
        f"--regid={uid}",
        "--clear-groups",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",
    ]


def tied(command: Sequence[str], *, signal_name: str) -> list[str]:
    """Return a command that gets the signal when its parent dies. Without setpriv the command is unchanged."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, *command] if setpriv else list(command)


def is_alive(pid: int) -> bool:
    """Return whether a process of any user has the id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line(pid: int) -> str:
    """Return the command line of the process. It is empty for a zombie, or when no process has the id."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    ps = shutil.which("ps") or "/bin/ps"
    return subprocess.run(
        [ps, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
