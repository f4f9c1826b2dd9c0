"""The list of benchmarks. Each module of `bench.cases` defines one or several as BENCHMARKS."""

import pkgutil
import re
from collections.abc import Sequence
from importlib import import_module

from bench import cases
from bench.benchmark import Benchmark


class UnknownBenchmark(Exception):
    """No benchmark has this name or code."""


def list_benchmarks() -> list[Benchmark]:
    """Return all benchmarks, large ones too, by code."""
    return sorted(
        (found for name in _modules() for found in import_module(name).BENCHMARKS),
        key=lambda found: (*_split(found.code), found.name),
    )


def find(names: Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks of these names or codes, or all; large ones only by name. Raise UnknownBenchmark."""
    wanted = {name.lower() for name in names}
    known = {word.lower() for found in list_benchmarks() for word in (found.code, found.name)}
    if wanted - known:
        raise UnknownBenchmark(
            f"Unknown benchmark {', '.join(sorted(wanted - known))}. Allowed: {', '.join(sorted(known))}"
        )
    return [
        found
        for found in list_benchmarks()
        if found.name.lower() in wanted or (not found.large and (not wanted or found.code.lower() in wanted))
    ]


def _split(code: str) -> tuple[str, int, str]:
    """Return the parts by which codes are in order: C5, C5c, C16."""
    parts = re.fullmatch(r"([A-Z])(\d+)([a-z]?)", code)
    assert parts, code
    return parts[1], int(parts[2]), parts[3]


def _modules() -> list[str]:
    return [f"{cases.__name__}.{module.name}" for module in pkgutil.iter_modules(cases.__path__)]
