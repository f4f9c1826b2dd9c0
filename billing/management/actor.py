"""The name of whoever runs a command, for the ledger and other records of who did what."""

import getpass
import os
import socket
from typing import Final

# The column of the ledger has room for this. A longer host name is cut.
_MAX_CHARACTERS: Final = 150


def actor_of(command: str) -> str:
    """Return the command with the user of the operating system and the host, such as "manage.py top_up by ada@db1"."""
    return f"manage.py {command} by {_user()}@{socket.gethostname()}"[:_MAX_CHARACTERS]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container may run as a number that no file names.
        return str(os.getuid())
