"""The Procfile's processes under supervisord, which starts each again when it dies."""

import configparser
import contextlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from zekron_api.local import commands

# In seconds, a little more than each needs to finish what it has begun: a waiting client gets its image,
# a GPU worker finishes its batch.
STOP_SECONDS = {"web": 115, "gpu": 70}
STOP_SECONDS_OTHERWISE = 15
# The web process ends first, while workers still make what its clients wait for; then all others at once.
FIRST_TO_STOP = "web"
MAX_DEATHS = 3
CONFIGURATION = "supervisord.conf"


def read(procfile: Path) -> dict[str, str]:
    """The commands of a Procfile by their names, `release` left out: it runs once, before the others start."""
    pairs = (line.partition(":") for line in procfile.read_text().splitlines() if not line.startswith("#"))
    commands = {name.strip(): command.strip() for name, colon, command in pairs if colon}
    commands.pop("release", None)
    return commands


@contextlib.contextmanager
def supervised(
    *, procfile: Path, folder: Path, environment: dict[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Inside, the Procfile's processes are kept running; yields supervisord; `folder` gets the logs.

    On the way out they are asked to end, and killed when they take too long or when a second signal or Ctrl-C arrives.
    """
    _write(folder, commands=read(procfile), working_folder=procfile.parent)
    command = [
        sys.executable,
        "-m",
        "supervisor.supervisord",
        "--nodaemon",
        "--configuration",
        CONFIGURATION,
    ]
    # Tied to this process and in a session of its own: the terminal's Ctrl-C reaches this process alone, which then
    # decides what ends in which order.
    supervisord = subprocess.Popen(
        commands.tied(command, signal_name="TERM"),
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield supervisord
    finally:
        _end(supervisord)


def broken(folder: Path) -> str | None:
    """The name of a process that has died again and again since the start; None while there is none."""
    log = folder / "supervisord.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    deaths = [line.partition("exited: ")[2].split()[0] for line in lines if "not expected" in line]
    return next((name for name in deaths if deaths.count(name) >= MAX_DEATHS), None)


def _end(supervisord: "subprocess.Popen[bytes]") -> None:
    supervisord.terminate()
    try:
        supervisord.wait(timeout=sum(STOP_SECONDS.values()) + STOP_SECONDS_OTHERWISE)
    finally:
        if supervisord.poll() is None:
            # Its processes are tied to it and die with it.
            supervisord.kill()
            supervisord.wait()


def _write(folder: Path, *, commands: dict[str, str], working_folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "supervisord.log").unlink(missing_ok=True)
    sections = {
        "supervisord": {"logfile": "supervisord.log", "pidfile": "supervisord.pid", "silent": "true"},
        "group:others": {
            "programs": ",".join(name for name in commands if name != FIRST_TO_STOP),
            "priority": "1",
        },
    }
    sections |= {
        f"program:{name}": _program(name, command, working_folder) for name, command in commands.items()
    }
    configuration = configparser.RawConfigParser()
    for section, values in sections.items():
        # supervisord fills in what follows a single %.
        configuration[section] = {name: value.replace("%", "%%") for name, value in values.items()}
    with (folder / CONFIGURATION).open("w") as file:
        configuration.write(file)


def _program(name: str, command: str, working_folder: Path) -> dict[str, str]:
    # A Procfile's command is the shell's, which fills in its variables and then becomes the command itself.
    words = commands.tied(["/bin/sh", "-c", f"exec {command}"], signal_name="KILL")
    return {
        "command": shlex.join(words),
        "directory": str(working_folder),
        "autorestart": "true",
        "startsecs": "5",
        # Each start waits a second longer than the one before; giving up would leave a machine that nobody watches.
        "startretries": "1000",
        "stopwaitsecs": str(STOP_SECONDS.get(name, STOP_SECONDS_OTHERWISE)),
        # Relative to the folder in which supervisord runs: a name here is filled in twice, and a folder may have a %.
        "stdout_logfile": f"{name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
        "redirect_stderr": "true",
        "killasgroup": "true",
    }
