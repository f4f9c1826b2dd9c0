"""Files that are written once, and that only their owner can read."""

import contextlib
import os
import secrets
from pathlib import Path


def create(path: Path, text: str) -> None:
    """Write the file, unless another process was first. Nobody sees a part of it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    # The creation of a link is atomic, and the first process to create it wins.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
