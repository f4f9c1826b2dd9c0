"""The logs of the local servers under `var/log`."""

from pathlib import Path
from typing import Final

# The servers write little, so two files of this size are enough.
MAX_BYTES: Final = 10 * 1024 * 1024


def prepare(var: Path, name: str) -> Path:
    """Rotate a log that is too large, and return its path. Call this before the log's server starts."""
    path = var / "log" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_name(f"{name}.1"))
    return path


def tail(path: Path, *, line_count: int = 20) -> str:
    """Return the last lines of the log, or an empty text when the log does not exist."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-line_count:])
