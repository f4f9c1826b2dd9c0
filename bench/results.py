"""The results files, `results/<date>-<device>.json`, one for each day and device."""

import json
import os
import platform
import re
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench import database
from bench.outcome import Outcome

FOLDER: Final = Path(__file__).parent / "results"
# The figures depend on these packages as well as on this project.
PACKAGES: Final = (
    "Django",
    "djangorestframework",
    "cryptography",
    "numpy",
    "pillow",
    "pybase64",
    "psycopg",
    "zlib-ng",
)


def write(outcome: Outcome, *, now: datetime, load: float) -> Path:
    """Write the outcome beside the other benchmarks of this day and device, and return the file's path.

    `load` is the machine's load before the benchmark. A high one means that other processes were at work too.
    """
    path = FOLDER / f"{now:%Y-%m-%d}-{_format_file_name(find_device())}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    measured = {**kept.get("benchmarks", {}), _format_name(outcome): _describe(outcome, now, load)}
    document = {
        "device": find_device(),
        "cores": os.cpu_count(),
        "benchmarks": dict(sorted(measured.items())),
    }
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def find_device() -> str:
    """Return the GPU's name if there is one that answers, or else the processor's model."""
    return _find_gpu() or _find_processor() or platform.machine()


def _format_name(outcome: Outcome) -> str:
    return f"{outcome.benchmark.code} {outcome.benchmark.name}"


def _describe(outcome: Outcome, now: datetime, load: float) -> dict[str, Any]:
    needs_database = outcome.benchmark.needs_database
    return {
        **outcome.describe(),
        **({"database": database.read_server_settings()} if needs_database else {}),
        "measured_at": now.isoformat(timespec="seconds"),
        "commit": _run("git", "describe", "--always", "--dirty", "--exclude=*"),
        "load_before": round(load, 2),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
    }


def _find_gpu() -> str:
    return _run("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").partition("\n")[0]


def _find_processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (named := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return named[1]
    return _run("sysctl", "-n", "machdep.cpu.brand_string")


def _format_file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, cwd=FOLDER.parent
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
