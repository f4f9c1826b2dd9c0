"""The processes of the Procfile under supervisord, which restarts each one that ends."""

import configparser
import contextlib
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from zekron_api.local import commands, unix_sockets

# Each value is a little more than the process needs to finish: a waiting client gets its image, and a GPU worker
# finishes its batch.
STOP_SECONDS: Final = {"web": 115, "gpu": 70}
DEFAULT_STOP_SECONDS: Final = 15
# The web process ends first, while the workers still make the images for its clients. Then all others end at once.
FIRST_TO_STOP: Final = "web"
OTHERS: Final = "others"
MAX_DEATHS: Final = 3
CONFIGURATION: Final = "supervisord.conf"
START_SECONDS: Final = 60


class SupervisordFailed(Exception):
    """supervisord does not start the processes."""


@dataclass(frozen=True)
class Supervisor:
    """A running supervisord, and the socket on which it takes commands."""

    process: "subprocess.Popen[bytes]"
    socket: Path

    def close(self) -> None:
        """End the processes and supervisord, and return when they have ended. It may be called twice.

        They are killed when they take too long, or when a second signal or Ctrl-C arrives.
        """
        self.process.terminate()
        try:
            self.process.wait(timeout=sum(STOP_SECONDS.values()) + DEFAULT_STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                # The processes get a signal when supervisord dies, so they die with it.
                self.process.kill()
                self.process.wait()

    def start(self, names: Sequence[str]) -> None:
        """Start these processes of the Procfile, in this order and without a wait. Raises SupervisordFailed."""
        from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415 - a host without it runs manage.py too

        deadline = time.monotonic() + START_SECONDS
        while not unix_sockets.listens(self.socket):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SupervisordFailed("supervisord does not answer")
            time.sleep(0.02)
        transport = SupervisorTransport(serverurl=f"unix://{self.socket}")
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as server:
            for name in names:
                server.supervisor.startProcess(name if name == FIRST_TO_STOP else f"{OTHERS}:{name}", False)


def read(procfile: Path) -> dict[str, str]:
    """Return the commands of a Procfile by name, without `release`, which runs once before the others."""
    pairs = (line.partition(":") for line in procfile.read_text().splitlines() if not line.startswith("#"))
    commands = {name.strip(): command.strip() for name, colon, command in pairs if colon}
    commands.pop("release", None)
    return commands


@contextlib.contextmanager
def supervised(*, procfile: Path, folder: Path, environment: dict[str, str]) -> Iterator[Supervisor]:
    """Keep the Procfile's processes running while the block runs, once each is started, with logs in `folder`.

    On the way out it is closed, unless the block did that.
    """
    _write(folder, commands=read(procfile), working_folder=procfile.parent)
    unix_sockets.prepare(folder)
    command = [
        sys.executable,
        "-m",
        "supervisor.supervisord",
        "--nodaemon",
        "--configuration",
        CONFIGURATION,
    ]
    # supervisord dies with this process and has its own session. The terminal's Ctrl-C therefore reaches only this
    # process, which decides the order of the stops.
    supervisord = subprocess.Popen(
        commands.tied(command, signal_name="TERM"),
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    with contextlib.closing(Supervisor(supervisord, _socket(folder))) as supervisor:
        yield supervisor


def broken(folder: Path) -> str | None:
    """Return the name of a process that will not come up, or None.

    It has died MAX_DEATHS times since the start, or once with the status that says that another try would fail too.
    """
    log = folder / "supervisord.log"
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    exits = [line.partition("exited: ")[2] for line in lines if "not expected" in line]
    deaths = [line.split()[0] for line in exits]
    hopeless = (line.split()[0] for line in exits if f"exit status {os.EX_CONFIG};" in line)
    return next(hopeless, next((name for name in deaths if deaths.count(name) >= MAX_DEATHS), None))


def _socket(folder: Path) -> Path:
    return unix_sockets.folder(folder) / "supervisor.sock"


def _write(folder: Path, *, commands: dict[str, str], working_folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "supervisord.log").unlink(missing_ok=True)
    sections = {
        "supervisord": {"logfile": "supervisord.log", "pidfile": "supervisord.pid", "silent": "true"},
        "unix_http_server": {"file": str(_socket(folder)), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
        f"group:{OTHERS}": {
            "programs": ",".join(name for name in commands if name != FIRST_TO_STOP),
            "priority": "1",
        },
    }
    sections |= {
        f"program:{name}": _program(name, command, working_folder) | _metrics_port(place)
        for place, (name, command) in enumerate(commands.items())
    }
    configuration = configparser.RawConfigParser()
    for section, values in sections.items():
        # supervisord expands a single %.
        configuration[section] = {name: value.replace("%", "%%") for name, value in values.items()}
    with (folder / CONFIGURATION).open("w") as file:
        configuration.write(file)


def _metrics_port(place: int) -> dict[str, str]:
    """Return the setting of a metrics port of the process's own, because all share one environment and one machine."""
    first = os.environ.get("METRICS_PORT", "")
    return {"environment": f'METRICS_PORT="{int(first) + place}"'} if first.isdecimal() else {}


def _program(name: str, command: str, working_folder: Path) -> dict[str, str]:
    # A Procfile's command is a shell command. The shell expands its variables and then replaces itself by the command.
    words = commands.tied(["/bin/sh", "-c", f"exec {command}"], signal_name="KILL")
    return {
        "command": shlex.join(words),
        "directory": str(working_folder),
        # supervisord by itself would wait for a second before it starts anything.
        "autostart": "false",
        "autorestart": "true",
        "startsecs": "5",
        # Each restart waits a second longer than the one before. supervisord must not give up, because nobody may be
        # watching the machine.
        "startretries": "1000",
        "stopwaitsecs": str(STOP_SECONDS.get(name, DEFAULT_STOP_SECONDS)),
        # The path is relative to supervisord's folder. A name here is expanded twice, and a folder may contain a %.
        "stdout_logfile": f"{name}.log",
        "stdout_logfile_maxbytes": "10MB",
        "stdout_logfile_backups": "2",
        "redirect_stderr": "true",
        "killasgroup": "true",
    }
