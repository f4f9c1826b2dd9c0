"""Recycling of a worker that has made enough generations, or whose memory has grown: it stops as on SIGTERM.

Its supervisor starts another, which has none of the memory that a library leaks.
"""

import logging
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

from workers.engine.interface import Misconfigured

log = logging.getLogger(__name__)

MIB: Final = 1024 * 1024
# Workers that were started together must not all stop together, so each draws its limit from this part of it upwards.
LEAST_SHARE: Final = 0.9
_STATM: Final = Path("/proc/self/statm")


def read_memory_mib() -> float:
    """Return the resident memory of this process in MiB. Raise OSError on a system without /proc."""
    resident_pages = int(_STATM.read_text(encoding="ascii").split()[1])
    return resident_pages * os.sysconf("SC_PAGE_SIZE") / MIB


def stop_process() -> None:
    """Stop this process as a deployment does. Celery's handler of the signal runs in the main thread."""
    os.kill(os.getpid(), signal.SIGTERM)


class Recycling:
    """The limits of one worker's life. A limit of 0 never ends it."""

    def __init__(
        self,
        *,
        max_generations: int,
        max_memory_mib: int,
        stop: Callable[[], None] = stop_process,
        read_memory: Callable[[], float] = read_memory_mib,
        draw: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._max_generations = round(max_generations * draw(LEAST_SHARE, 1.0)) or max_generations
        self._max_memory_mib = max_memory_mib
        self._stop = stop
        self._read_memory = read_memory
        self._is_over = False

    def refuse_useless_limit(self) -> None:
        """Raise Misconfigured if a worker with its models loaded would be over the limit of memory already."""
        if not self._max_memory_mib:
            return
        try:
            used_mib = self._read_memory()
        except OSError as error:
            raise Misconfigured(
                "MAX_WORKER_MEMORY needs a system with /proc, such as Linux; unset it here"
            ) from error
        if used_mib > self._max_memory_mib:
            raise Misconfigured(
                f"MAX_WORKER_MEMORY is {self._max_memory_mib} MiB, and a worker with these models takes"
                f" {used_mib:.0f} MiB before its first picture"
            )

    def stop_if_due(self, *, generation_count: int) -> None:
        """Stop the process once, if this number of ended attempts or the memory is over its limit."""
        if self._is_over or not (reason := self._find_reason(generation_count)):
            return
        self._is_over = True
        log.warning("this worker stops, to be started anew: %s", reason)
        self._stop()

    def _find_reason(self, generation_count: int) -> str:
        if self._max_generations and generation_count >= self._max_generations:
            return f"it has worked on {generation_count} generations, of which {self._max_generations} are enough"
        if self._max_memory_mib and (used_mib := self._read_memory()) > self._max_memory_mib:
            return f"it takes {used_mib:.0f} MiB of memory, of which {self._max_memory_mib} are allowed"
        return ""
