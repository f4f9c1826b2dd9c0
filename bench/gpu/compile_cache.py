"""The results of torch.compile as files of a limited size, so that a second run elsewhere compiles nothing again."""

import lzma
from pathlib import Path
from typing import Final

import torch

PATTERN: Final = "compile-cache.*"
PART_BYTE_COUNT: Final = 12 * 1024**2
MAX_PARTS: Final = 2


def load(folder: Path) -> int:
    """Read the parts in the folder, if there are any, and return their byte count."""
    content = b"".join(part.read_bytes() for part in sorted(folder.glob(PATTERN)))
    if content:
        torch.compiler.load_cache_artifacts(lzma.decompress(content))
    return len(content)


def save(folder: Path) -> int:
    """Write the parts into the folder, and return their byte count. Too much is not written."""
    artifacts = torch.compiler.save_cache_artifacts()
    content = lzma.compress(artifacts[0], preset=1) if artifacts else b""
    if len(content) <= MAX_PARTS * PART_BYTE_COUNT:
        for number, start in enumerate(range(0, len(content), PART_BYTE_COUNT)):
            part = content[start : start + PART_BYTE_COUNT]
            (folder / PATTERN.replace("*", str(number))).write_bytes(part)
    return len(content)
