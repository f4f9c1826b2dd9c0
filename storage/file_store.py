"""The object store in a folder. An object gets its name once all of it is on the disk, and keeps it without power.

Knows no image and no row.
"""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

# Of what is still being written; a process that is killed meanwhile leaves it.
PARTIAL_SUFFIX = ".partial"


# Objects are put into the folder of an hour, or of a few at most.
KNOWN_FOLDERS = 64


class FileStore(FileSystemStorage):
    """Django's store of files, for bytes that are paid for before anybody could write them again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """As FileSystemStorage."""
        super().__init__(*args, **kwargs)
        # Those whose own names are on the disk, by their place on the device: one that is made anew is another.
        self._known: deque[tuple[int, int]] = deque(maxlen=KNOWN_FOLDERS)

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
        _write_through(path.parent)
        self._keep_folder(path.parent, above=path.parents[1 : 1 + name.count("/")])
        return name

    def _keep_folder(self, folder: Path, *, above: Sequence[Path]) -> None:
        """A name is in its folder, whose own name is in the folder above: any of them may be new."""
        status = folder.stat()
        identity = status.st_dev, status.st_ino
        if identity not in self._known:
            for each in above:
                _write_through(each)
            self._known.append(identity)


def _write_through(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
