"""One worker process for each device, kept up: started again when it ends, and told to stop when this is."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

logger = logging.getLogger(__name__)

# Between two starts of a worker that does not stay up: twice as long each time, up to a minute.
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
# One that has run this long had a good start: what ended it is another matter than what ended those before.
GOOD_START_SECONDS = 300.0
# What Celery and this project end with when models or settings cannot be used: to start again would not help.
REFUSED_STATUS = 1
LOOK_SECONDS = 0.2


class WorkerRefused(Exception):
    """A worker has ended at its start, saying why in its own log: for all of them the reason would be the same."""


def visible_devices() -> list[str]:
    """The GPUs that are there, or the CPU."""
    told = subprocess.run(
        [sys.executable, "-m", "workers.pipelines.runtime.list_devices"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return told.stdout.split()


def command(device: str, *, queues: str, concurrency: int) -> list[str]:
    """A worker as the Procfile's `gpu`, by another name at every start; it is told to stop when this process dies."""
    name = f"gpu-{device.replace(':', '')}-{os.getpid()}-{time.monotonic_ns()}@%h"
    celery = [sys.executable, "-m", "celery", "-A", "zekron_api", "worker", "-P", "threads"]
    options = ["-c", str(concurrency), "-Q", queues, "-n", name, "--without-gossip", "--without-mingle"]
    setpriv = shutil.which("setpriv")
    return [*([setpriv, "--pdeathsig", "TERM"] if setpriv else []), *celery, *options]


@dataclass(kw_only=True)
class _Post:
    """A device, the worker at it, and when another may be started there."""

    device: str
    process: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    next_at: float = 0.0
    pause_seconds: float = FIRST_PAUSE_SECONDS
    is_told: bool = False

    def stop(self) -> None:
        """Tells the worker, if there is one, and only once."""
        if self.process and not self.is_told:
            self.is_told = True
            self.process.send_signal(signal.SIGTERM)


class Crew:
    """Runs until it is told to stop. For one thread, the main one."""

    def __init__(self, devices: Sequence[str], *, command_for: Callable[[str], Sequence[str]]) -> None:
        """Starts nothing yet."""
        self._posts = [_Post(device=device) for device in devices]
        self._command_for = command_for
        self._stopping = False

    def run(self) -> None:
        """Returns when `stop` was called and all workers have ended. Raises WorkerRefused if one did."""
        refused = False
        while any(post.process for post in self._posts) or not self._stopping:
            for post in self._posts:
                refused = self._look_after(post) or refused
            if refused:
                self.stop()
            time.sleep(LOOK_SECONDS)
        if refused:
            raise WorkerRefused

    def stop(self) -> None:
        """Tells each worker to stop, once: told twice it would leave its work. A signal's handler may call this."""
        self._stopping = True
        for post in self._posts:
            post.stop()

    def _look_after(self, post: _Post) -> bool:
        """Whether its worker has refused to start."""
        if post.process is None:
            if not self._stopping and time.monotonic() >= post.next_at:
                self._start(post)
            return False
        status = post.process.poll()
        if status is None:
            return False
        post.process = None
        ran_seconds = time.monotonic() - post.started_at
        if self._stopping:
            logger.info("the worker of %s has ended with status %d", post.device, status)
            return False
        if status == REFUSED_STATUS and ran_seconds < GOOD_START_SECONDS:
            logger.error("the worker of %s refused to start; all are stopped", post.device)
            return True
        if ran_seconds >= GOOD_START_SECONDS:
            post.pause_seconds = FIRST_PAUSE_SECONDS
        post.next_at = time.monotonic() + post.pause_seconds
        logger.error(
            "the worker of %s has ended with status %d; another starts in %g s",
            post.device,
            status,
            post.pause_seconds,
        )
        post.pause_seconds = min(2 * post.pause_seconds, LONGEST_PAUSE_SECONDS)
        return False

    def _start(self, post: _Post) -> None:
        # In a session of its own, so that the terminal's Ctrl-C does not reach it besides.
        post.process = subprocess.Popen(
            self._command_for(post.device),
            env={**os.environ, "DEVICE": post.device},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        post.started_at = time.monotonic()
        logger.info("the worker of %s is process %d", post.device, post.process.pid)
        if self._stopping:
            # The signal came while it was being started.
            post.stop()
