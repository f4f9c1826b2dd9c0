"""Where the local servers' unix sockets are, and whether a server listens on one."""

import hashlib
import os
import socket
import stat
from pathlib import Path

# A unix socket's address holds 107 bytes on Linux and 103 on macOS.
MAX_ADDRESS_BYTES = 103
LONGEST_NAME = ".s.PGSQL.5432"


class UnsafeFolder(Exception):
    """The folder of the sockets belongs to somebody else or is open to others."""


def folder(var: Path) -> Path:
    """The folder of the sockets: inside `var`, or, where that path is too long, one of this user's under /tmp."""
    inside = var / "sockets"
    if len(os.fsencode(inside / LONGEST_NAME)) <= MAX_ADDRESS_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(var)).hexdigest()[:16]
    # Not TMPDIR: it may differ between two commands, and may be too long itself.
    return Path("/tmp") / f"zekron-{os.geteuid()}-{digest}"  # noqa: S108 - prepare() checks whose it is


def prepare(var: Path) -> None:
    """Makes the folder, for this user alone; raises UnsafeFolder where somebody else made it first."""
    path = folder(var)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    mine = os.geteuid() in {0, found.st_uid} if path.is_relative_to(var) else found.st_uid == os.geteuid()
    if not (stat.S_ISDIR(found.st_mode) and mine and stat.S_IMODE(found.st_mode) & 0o077 == 0):
        raise UnsafeFolder(f"the folder {path} is not this user's alone: remove it")


def listens(path: Path) -> bool:
    """True when a server listens on the unix socket; False where there is none, or only what a dead one left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True


def converse(path: Path, request: str, *, timeout_seconds: float) -> bytes:
    """Sends the request to the server and returns all that it answers until it closes the connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        connection.connect(str(path))
        connection.sendall(request.encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))
