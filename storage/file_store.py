"""The object store in a folder. An object gets its name once all of it is on the disk, and keeps it without power.

Knows no image and no row.
"""

import os
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

# Of what is still being written; a process that is killed meanwhile leaves it.
PARTIAL_SUFFIX = ".partial"


class FileStore(FileSystemStorage):
    """Django's store of files, for bytes that are paid for before anybody could write them again."""

    def _save(self, name: str, content: "File[Any]") -> str:
        path, partial = Path(self.path(name)), Path(self.path(name + PARTIAL_SUFFIX))
        try:
            super()._save(name + PARTIAL_SUFFIX, content)  # type: ignore[misc]
            _write_through(partial)
            partial.replace(path)
        except BaseException:
            # A disk that is full must not also keep what did not fit.
            partial.unlink(missing_ok=True)
            raise
        # The name is in its folder, whose name is in the folder above: any of them may be new.
        for folder in path.parents[: 1 + name.count("/")]:
            _write_through(folder)
        return name


def _write_through(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
