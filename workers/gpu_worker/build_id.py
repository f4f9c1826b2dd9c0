"""The identifier of the code that this process runs, by which staff see whether all processes run the same."""

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings

PACKAGES = ("billing", "storage", "workers", "zekron_api")


@cache
def digest() -> str:
    """Return eight hexadecimal digits of a hash over the project's Python files, read at the first call.

    The digits do not depend on the folder of the installation.
    """
    total = hashlib.sha256()
    for package in PACKAGES:
        for file in sorted(Path(settings.BASE_DIR, package).rglob("*.py")):
            total.update(file.relative_to(settings.BASE_DIR).as_posix().encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:8]
