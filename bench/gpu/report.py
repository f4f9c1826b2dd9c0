"""The results file of a run, written after each result."""

import json
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import torch

from bench.gpu.context import Context, read_memory_gigabytes
from bench.outcome import Outcome

FOLDER: Final = Path(__file__).parent.parent / "results"
PACKAGES: Final = ("torch", "triton", "diffusers", "transformers", "accelerate", "numpy", "zlib-ng")


class Report:
    """One file, with `benchmarks` by their names, and other findings under `G0`."""

    def __init__(self, scale_name: str, device: str, *, folder: Path) -> None:
        """Begin with the present content of the file."""
        name = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
        self.path = folder / f"{datetime.now(UTC):%Y-%m-%d}-{name}.json"
        self._scale_name = scale_name
        self._document: dict[str, Any] = {"device": device, "benchmarks": {}}
        if self.path.exists():
            self._document |= json.loads(self.path.read_text())

    def add(self, outcome: Outcome, context: Context) -> None:
        """Add a benchmark's figures."""
        benchmark = outcome.benchmark
        self._put(
            f"{benchmark.code} {benchmark.name}",
            {
                **outcome.describe(),
                "b": f"{benchmark.b}; {context.ours.mode}",
                "memory_gigabytes": read_memory_gigabytes(context.machine),
            },
        )

    def note(self, name: str, seen: Mapping[str, Any]) -> None:
        """Add a finding that is no benchmark."""
        self._put(f"G0 {name}", dict(seen))

    def _put(self, name: str, entry: dict[str, Any]) -> None:
        described = {
            **entry,
            "weights": self._scale_name,
            "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _read_commit(),
            "python": sys.version.split()[0],
            "packages": _list_packages(),
        }
        merged = {**self._document["benchmarks"], name: described}
        self._document["benchmarks"] = dict(sorted(merged.items()))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self._document, indent=1, ensure_ascii=False) + "\n")


def describe_machine() -> list[str]:
    """Return the versions that the figures depend on, for people."""
    cuda = torch.version.cuda or "none"
    return [f"torch {torch.__version__}, CUDA {cuda}, Python {platform.python_version()}"]


def _list_packages() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _read_commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--exclude=*"],  # noqa: S607
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd=FOLDER.parent,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
