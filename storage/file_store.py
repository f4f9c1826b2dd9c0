"""The object store in a folder.

An object gets its name only after all its bytes are on the disk, and keeps that name after a power failure. The
module knows no image and no row.
"""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage

# A file has this suffix while it is written. A process that is killed in the meantime leaves the file behind.
PARTIAL_SUFFIX: Final = ".partial"
# A process writes into the folder of one hour, or of a few hours at most.
MAX_KNOWN_FOLDERS: Final = 64


class FileStore(FileSystemStorage):
    """Django's file storage with fsync, because a customer pays for an object that nobody can produce again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the arguments of FileSystemStorage."""
        super().__init__(*args, **kwargs)
        # Folders whose own names are on the disk, by device and inode. A folder that is made again has a new inode.
        self._known: deque[tuple[int, int]] = deque(maxlen=MAX_KNOWN_FOLDERS)

    def _save(self, name: str, content: "File[Any]") -> str:
        path, partial = Path(self.path(name)), Path(self.path(name + PARTIAL_SUFFIX))
        try:
            super()._save(name + PARTIAL_SUFFIX, content)  # type: ignore[misc]
            _write_through(partial)
            partial.replace(path)
        except BaseException:
            # A full disk must not also keep the part that did fit.
            partial.unlink(missing_ok=True)
            raise
        _write_through(path.parent)
        self._keep_folder(path.parent, above=path.parents[1 : 1 + name.count("/")])
        return name

    def _keep_folder(self, folder: Path, *, above: Sequence[Path]) -> None:
        """Write the folder's name, and the names of the folders above it, to the disk unless they are known.

        A name is stored in its folder, and the folder's name in the folder above. Any of them may be new.
        """
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
