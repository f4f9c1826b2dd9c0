"""The reader of C2PA manifests in files from outside. A process of their own reads them, as it does HEIC and AVIF.

The library parses deep structures of a stranger, and its failure must cost one file. The process gets no environment.
"""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final, NamedTuple

from workers.imaging import c2pa_signing, containers, jpeg_segments, png_chunks

# A manifest with the thumbnails and the history of a picture has some hundred kilobytes.
MAX_ARCHIVE_BYTES: Final = 1024 * 1024
MAX_SECONDS: Final = 20
MAX_SOURCE_TYPE_CHARACTERS: Final = 200
# Each takes 60 MB, and up to 256 MB more for a file that is made for it.
MAX_PROCESSES: Final = 2
_PROGRAM: Final = str(Path(__file__).with_name("c2pa_program.py").resolve())
_slots = threading.BoundedSemaphore(MAX_PROCESSES)


class Manifest(NamedTuple):
    """The knowledge of a file's manifest.

    `is_valid` says that the file is as it was signed, and `is_trusted` that a trusted authority vouches for its signer.
    """

    is_valid: bool
    is_trusted: bool
    source_type: str | None


def may_have_manifest(content: bytes) -> bool:
    """Return whether a file has the names of a manifest's boxes, in whatever format."""
    return b"jumb" in content and b"c2pa" in content


def read(content: bytes, *, trust_anchors: Path | None = None) -> Manifest | None:
    """Return the knowledge of the file's manifest. Return None without one, and where the library is not installed.

    A manifest that cannot be read is not valid.
    """
    if not may_have_manifest(content) or not c2pa_signing.is_installed():
        return None
    written = _run(content, "read", str(trust_anchors or ""))
    if written is None:
        return Manifest(is_valid=False, is_trusted=False, source_type=None)
    if not written:
        return None
    said = json.loads(written)
    source_type = said["source_type"]
    return Manifest(
        is_valid=said["state"] in ("Valid", "Trusted"),
        is_trusted=said["state"] == "Trusted",
        source_type=source_type[:MAX_SOURCE_TYPE_CHARACTERS] if source_type else None,
    )


def pack(content: bytes, *, relationship: str, label: str) -> bytes:
    """Return the manifest of a readable picture as the archive of an ingredient, with what its validation found.

    Return nothing without a manifest, for one that cannot be read or whose archive has more than MAX_ARCHIVE_BYTES, and
    where the library is not installed.
    """
    if not may_have_manifest(content) or not c2pa_signing.is_installed():
        return b""
    written = _run(content, "pack", _mime_type_of(content), relationship, label) or b""
    return written if len(written) <= MAX_ARCHIVE_BYTES else b""


def _run(content: bytes, *arguments: str) -> bytes | None:
    """Return the program's output, or None if it failed or took too long."""
    with _slots:
        try:
            ended = subprocess.run(
                [sys.executable, "-I", "-B", _PROGRAM, *arguments],
                input=content,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={},
                timeout=MAX_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return None
    return ended.stdout if ended.returncode == 0 else None


def _mime_type_of(content: bytes) -> str:
    if content.startswith(png_chunks.SIGNATURE):
        return "image/png"
    if content.startswith(jpeg_segments.START_OF_IMAGE):
        return "image/jpeg"
    if content.startswith(b"GIF8"):
        return "image/gif"
    container = containers.format_of(content).lower()
    return f"image/{container or 'webp'}"
