"""What Django imports of a backend."""

import math
import select
import time

from django.db.backends.postgresql import base

# What has been idle for longer may have been forgotten by a firewall in between, which tells nobody.
TRUSTED_SECONDS = 60.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is looked at before each request and task, as CONN_HEALTH_CHECKS asks for."""

    _looked_at = -math.inf

    def is_usable(self) -> bool:
        """Whether it works. Who has been left by the server has an end of file to read, and who has nothing to read,
        was looked at a moment ago and met no error since need not be asked: Django's own question is a round trip, and
        each generation would make three.
        """
        if self.connection is None or self.connection.closed:
            return False
        now = time.monotonic()
        idle_seconds, self._looked_at = now - self._looked_at, now
        # select(2) knows no more than 1024 files, and here thousands of clients wait.
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        is_trusted = not self.errors_occurred and idle_seconds < TRUSTED_SECONDS and not waiting.poll(0)
        return is_trusted or super().is_usable()
