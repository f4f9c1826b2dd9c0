"""Keeps what was measured, as `results/<date>-<device>.json`: one file a day and device."""

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
# What the figures depend on besides our own code.
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
    """Writes the outcome, beside those of other benchmarks that were measured on this day and device.

    `load` is the machine's before anything was measured: with it, others were at work at the same time.
    """
    path = FOLDER / f"{now:%Y-%m-%d}-{_file_name(device())}.json"
    kept: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    measured = {**kept.get("benchmarks", {}), _name(outcome): _describe(outcome, now, load)}
    document = {"device": device(), "cores": os.cpu_count(), "benchmarks": dict(sorted(measured.items()))}
    FOLDER.mkdir(exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    return path


def device() -> str:
    """The GPU, if there is one that answers, or else the processor's model."""
    return _gpu() or _processor() or platform.machine()


def _name(outcome: Outcome) -> str:
    return f"{outcome.benchmark.code} {outcome.benchmark.name}"


def _describe(outcome: Outcome, now: datetime, load: float) -> dict[str, Any]:
    needs_database = outcome.benchmark.needs_database
    return {
        **outcome.described(),
        **({"database": database.settings_of_server()} if needs_database else {}),
        "measured_at": now.isoformat(timespec="seconds"),
        "commit": _output("git", "describe", "--always", "--dirty", "--exclude=*"),
        "load_before": round(load, 2),
        "python": sys.version.split()[0],
        "packages": {name: version(name) for name in PACKAGES},
    }


def _gpu() -> str:
    return _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").partition("\n")[0]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (named := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        return named[1]
    return _output("sysctl", "-n", "machdep.cpu.brand_string")


def _file_name(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=30, cwd=FOLDER.parent
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
