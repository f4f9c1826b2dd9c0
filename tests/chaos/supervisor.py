"""Keeps processes running as a supervisor does: what dies is started again a second later, and each end is counted."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from zekron_api.local import commands

ROOT = Path(__file__).resolve().parent.parent.parent
RESTART_SECONDS = 1.0
LOOK_SECONDS = 0.1


class End(NamedTuple):
    """The end of a process: its exit status, or minus the signal; `asked` when we had sent it a signal to end by."""

    name: str
    pid: int
    status: int
    asked: bool
    at: float


@dataclass
class _Service:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    folder: Path = ROOT
    process: "subprocess.Popen[bytes] | None" = None
    is_asked: bool = False
    is_held: bool = False
    start_at: float = 0.0
    is_armed: bool = False
    next_environment: dict[str, str] = field(default_factory=dict)


class Supervisor:
    """Services by name; one thread starts them all, and when this process dies they are killed with it."""

    def __init__(self, *, logs: Path) -> None:
        logs.mkdir(mode=0o700, exist_ok=True)
        self.ends: list[End] = []
        self._logs = logs
        self._services: dict[str, _Service] = {}
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def add(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], *, folder: Path = ROOT
    ) -> None:
        """Start a service in the folder, and start it again whenever it ends."""
        with self._lock:
            self._services[name] = _Service(name, command, environment, folder)

    def change(self, name: str, command: Sequence[str], *, folder: Path) -> None:
        """Start the service's next process, and all later ones, by another command in another folder."""
        with self._lock:
            self._services[name].command, self._services[name].folder = command, folder

    def pid(self, name: str) -> int | None:
        """Return the service's process, if it has one now."""
        with self._lock:
            process = self._services[name].process
            return process.pid if process and process.poll() is None else None

    def send(self, name: str, number: signal.Signals) -> int | None:
        """Send the signal to the service's process, and return which that was."""
        with self._lock:
            pid = self.pid(name)
            if pid is not None:
                ends_it = number in {signal.SIGKILL, signal.SIGTERM}
                self._services[name].is_asked |= ends_it
                os.kill(pid, number)
            return pid

    def hold(self, name: str) -> None:
        """Once it ends, the service stays down until `let_go`."""
        with self._lock:
            self._services[name].is_held = True

    def let_go(self, name: str) -> None:
        """Let the service run again."""
        with self._lock:
            self._services[name].is_held = False

    def arm(self, name: str, **environment: str) -> None:
        """Give these variables to the service's next process as well, and to no later one."""
        with self._lock:
            self._services[name].next_environment = environment

    def disarm(self, name: str) -> None:
        """Lets the service live without such variables, and ends it by SIGTERM if it has any now."""
        with self._lock:
            self._services[name].next_environment = {}
            if self._services[name].is_armed:
                self.send(name, signal.SIGTERM)

    def wait_for(self, name: str, *, other_than: int | None, seconds: float = 120) -> int:
        """Return the id of the service's process, as soon as it has another than this one."""
        give_up_at = time.monotonic() + seconds
        while (pid := self.pid(name)) is None or pid == other_than:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{name} was not started again within {seconds:.0f} s")
            time.sleep(LOOK_SECONDS)
        return pid

    def close(self) -> None:
        """Kills everything: what matters has been looked at by then."""
        self._closed.set()
        self._thread.join()
        for service in self._services.values():
            if service.process:
                service.process.kill()
                service.process.wait()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            with self._lock:
                for service in self._services.values():
                    self._look_at(service)

    def _look_at(self, service: _Service) -> None:
        if service.process is None:
            if not service.is_held and time.monotonic() >= service.start_at:
                self._start(service)
        elif (status := service.process.poll()) is not None:
            end = End(service.name, service.process.pid, status, service.is_asked, time.monotonic())
            self.ends.append(end)
            service.process = None
            service.start_at = time.monotonic() + RESTART_SECONDS

    def _start(self, service: _Service) -> None:
        environment = {**service.environment, **service.next_environment}
        service.is_armed = bool(service.next_environment)
        service.next_environment, service.is_asked = {}, False
        with (self._logs / f"{service.name}.log").open("ab") as log:
            service.process = subprocess.Popen(
                commands.tied(service.command, signal_name="KILL"),
                cwd=service.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # The terminal's Ctrl-C is for the one who watches.
                start_new_session=True,
            )
