"""What Django imports of a backend."""

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is looked at before each request and task, as CONN_HEALTH_CHECKS asks for."""

    def is_usable(self) -> bool:
        """Whether it works. Who has been left by the server has an end of file to read, and who has nothing to read
        need not be asked: Django's own question is a round trip, and each generation would make three.
        """
        if self.connection is None or self.connection.closed:
            return False
        # select(2) knows no more than 1024 files, and here thousands of clients wait.
        waiting = select.poll()
        waiting.register(self.connection.fileno(), select.POLLIN)
        return not waiting.poll(0) or super().is_usable()
