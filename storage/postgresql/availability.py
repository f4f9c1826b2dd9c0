"""Availability of PostgreSQL to this process: one log line when it goes away, and one when it is back.

While it is away one thread at a time tries to connect, and all others fail at once, so that requests do not wait in
turn for a server that says nothing.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from django.db import InterfaceError, OperationalError

log = logging.getLogger(__name__)

# The errors of a PostgreSQL that is away, restarts or did not answer in time. Celery logs them without a traceback.
UNAVAILABLE: Final = (OperationalError, InterfaceError)
# After a failed connection, no thread tries again for this time.
REST_SECONDS: Final = 1.0


class Availability:
    """Outcome of the last attempt of this process to connect, which decides who may try next."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._is_away = False
        self._is_tried = False
        self._try_at = 0.0

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Connect in the block. Raise psycopg.OperationalError before it while another attempt is awaited."""
        with self._lock:
            if self._is_away and (self._is_tried or self._clock() < self._try_at):
                raise psycopg.OperationalError("PostgreSQL did not answer a moment ago")
            self._is_tried = True
        try:
            yield
        except psycopg.OperationalError as error:
            self._note(error)
            raise
        else:
            self._note(None)
        finally:
            self._is_tried = False

    def _note(self, error: psycopg.OperationalError | None) -> None:
        with self._lock:
            was_away, self._is_away = self._is_away, error is not None
            self._try_at = self._clock() + REST_SECONDS
        if error and not was_away:
            # The text is about the connection alone, so it quotes nothing that a client sent.
            reason, _, _ = str(error).partition("\n")
            log.warning("PostgreSQL is away. Requests are answered with 503 until it is back. %s", reason)
        elif was_away and not error:
            log.warning("PostgreSQL is back")


availability: Final = Availability()
