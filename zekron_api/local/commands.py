"""How the servers' commands are run: as whom, away from the terminal, and what a process id belongs to."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NOBODY = 65534


class CommandFailed(Exception):
    """A command of a server did not succeed."""


def run(
    command: Sequence[str], *, uid: int | None = None, stdin: str = "", timeout_seconds: float = 120
) -> None:
    """Runs the command to its end in its own session: the terminal's Ctrl-C does not reach what it starts.

    With `uid` it runs as that user, which only root may ask for. Raises CommandFailed with what it printed.
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
    """What to put before a command for root to run it as `uid`.

    PostgreSQL refuses to be root. As another user it could not pass through folders that are root's alone, and
    opening those to everybody would change what is not ours; so it keeps one of root's capabilities for that.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise CommandFailed(
            "PostgreSQL does not run as root, and setpriv, which would start it as another user, is missing: "
            "install util-linux, or run as an ordinary user, or set DATABASE_URL"
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
    """The command, sent the signal when its parent dies, however it dies; unchanged where there is no setpriv."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name, *command] if setpriv else list(command)


def is_alive(pid: int) -> bool:
    """True while a process, whosever it is, has the id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def command_line(pid: int) -> str:
    """What the process was started with; empty when there is none, or only the remains of one that ended."""
    if Path("/proc/self/cmdline").exists():
        try:
            return os.fsdecode(Path(f"/proc/{pid}/cmdline").read_bytes()).replace("\0", " ")
        except OSError:
            return ""
    ps = shutil.which("ps") or "/bin/ps"
    return subprocess.run(
        [ps, "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
