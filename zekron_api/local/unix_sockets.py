"""The folder of the local servers' unix sockets, and the connections to them."""

import hashlib
import os
import socket
import stat
from pathlib import Path
from typing import Final

# A unix socket's address holds 107 bytes on Linux and 103 on macOS.
MAX_ADDRESS_BYTES: Final = 103
LONGEST_NAME: Final = ".s.PGSQL.5432"


class UnsafeFolder(Exception):
    """The folder of the sockets belongs to another user or is open to others."""


def folder(var: Path) -> Path:
    """Return the folder of the sockets: inside `var`, or under /tmp when the path inside `var` is too long."""
    inside = var / "sockets"
    if len(os.fsencode(inside / LONGEST_NAME)) <= MAX_ADDRESS_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(var)).hexdigest()[:16]
    # TMPDIR is not used, because it may differ between two commands and may itself be too long.
    return Path("/tmp") / f"zekron-{os.geteuid()}-{digest}"  # noqa: S108 - prepare() checks its owner


def prepare(var: Path) -> None:
    """Create the folder for this user only. Raises UnsafeFolder when another user has created it."""
    path = folder(var)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    mine = os.geteuid() in {0, found.st_uid} if path.is_relative_to(var) else found.st_uid == os.geteuid()
    if not (stat.S_ISDIR(found.st_mode) and mine and stat.S_IMODE(found.st_mode) & 0o077 == 0):
        raise UnsafeFolder(f"the folder {path} is not this user's alone: remove it")


def listens(path: Path) -> bool:
    """Return whether a server listens on the unix socket. The socket of a dead server does not count."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def converse(path: Path, request: str, *, timeout_seconds: float) -> bytes:
    """Send the request to the server, and return its whole answer until it closes the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
