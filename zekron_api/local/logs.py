"""The local servers' logs under `var/log`."""

from pathlib import Path

# The servers write little; what is older than two files of this size interests nobody.
MAX_BYTES = 10 * 1024 * 1024


def prepare(var: Path, name: str) -> Path:
    """Where the log is; called before its server starts, it puts a log that grew too large aside."""
    path = var / "log" / name
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_name(f"{name}.1"))
    return path


def tail(path: Path, *, line_count: int = 20) -> str:
    """The log's last lines; empty where there is none."""
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 64 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-line_count:])
