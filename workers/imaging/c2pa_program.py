"""A program of its own that reads the C2PA manifest of one file from its standard input.

It imports nothing of the service, fetches nothing, and has limits of memory and time. `read ANCHORS` writes a line of
JSON, where ANCHORS is a file of trusted certificates or an empty text. `pack TYPE RELATIONSHIP LABEL` writes the
manifest and its validation as an archive of an ingredient. No output means that the file has no manifest, and the exit
status 1 that its manifest cannot be read.
"""

import contextlib
import importlib
import io
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, Final

MEGABYTE: Final = 1024 * 1024
# The memory beside the program itself. A file has 10 MiB.
MEMORY_BYTES: Final = 256 * MEGABYTE
CPU_SECONDS: Final = 10
_SETTINGS: Final[dict[str, Any]] = {
    "builder": {"thumbnail": {"enabled": False}},
    "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False},
}


def main() -> None:
    """Do what the arguments say."""
    c2pa: Any = importlib.import_module("c2pa")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit_memory()
    source = io.BytesIO(sys.stdin.buffer.read())
    task, *arguments = sys.argv[1:]
    try:
        written = _read(c2pa, source, *arguments) if task == "read" else _pack(c2pa, source, *arguments)
    except c2pa.C2paError as error:
        # One that lies elsewhere would have to be fetched.
        if str(error).startswith(("ManifestNotFound", "Remote")):
            return
        raise
    sys.stdout.buffer.write(written)
    sys.stdout.buffer.flush()


def _read(c2pa: Any, source: io.BytesIO, anchors: str) -> bytes:
    """Return what the active manifest says, and how far it holds."""
    settings = dict(_SETTINGS)
    if anchors:
        settings["trust"] = {"trust_anchors": Path(anchors).read_text(encoding="ascii")}
    reader = c2pa.Reader(source, context=c2pa.Context.from_dict(settings))
    said = {"state": reader.get_validation_state(), "source_type": _source_type(reader.get_active_manifest())}
    return json.dumps(said).encode()


def _source_type(manifest: dict[str, Any]) -> str | None:
    """Return the digital source type of the last action that has one."""
    named = [
        action["digitalSourceType"]
        for assertion in manifest.get("assertions", [])
        if assertion["label"].startswith("c2pa.actions")
        for action in assertion["data"].get("actions", [])
        if isinstance(action.get("digitalSourceType"), str)
    ]
    return named[-1] if named else None


def _pack(c2pa: Any, source: io.BytesIO, mime_type: str, relationship: str, label: str) -> bytes:
    context = c2pa.Context.from_dict(_SETTINGS)
    # It raises an exception for a file without a manifest, which would become an ingredient without one.
    c2pa.Reader(source, context=context)
    source.seek(0)
    builder = c2pa.Builder({}, context)
    builder.add_ingredient({"relationship": relationship, "label": label}, mime_type, source)
    archive = io.BytesIO()
    builder.write_ingredient_archive(label, archive)
    return archive.getvalue()


def _limit_memory() -> None:
    """Allow so many bytes beside those that the process has. Only Linux says how many it has."""
    with contextlib.suppress(OSError, ValueError):
        page_count = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _limit(resource.RLIMIT_AS, page_count * resource.getpagesize() + MEMORY_BYTES)


def _limit(resource_kind: int, value: int) -> None:
    """Set a limit. One that the machine has set below it stays."""
    _, most = resource.getrlimit(resource_kind)
    soft = value if most == resource.RLIM_INFINITY else min(value, most)
    resource.setrlimit(resource_kind, (soft, most))


if __name__ == "__main__":
    try:
        main()
    except Exception:  # noqa: BLE001 (the parent only needs to know that there was one)
        os._exit(1)
