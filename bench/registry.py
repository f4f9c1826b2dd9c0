"""Finds the benchmarks: each module of `bench.cases` has one or several, and nothing else need know of it."""

import pkgutil
from collections.abc import Sequence
from importlib import import_module

from bench import cases
from bench.benchmark import Benchmark


class UnknownBenchmark(Exception):
    """No benchmark has this name or code."""


def every() -> list[Benchmark]:
    """All there are, large ones too, by code."""
    return sorted(
        (found for name in _modules() for found in import_module(name).BENCHMARKS),
        key=lambda found: (found.code[0], int(found.code[1:]), found.name),
    )


def find(names: Sequence[str]) -> list[Benchmark]:
    """The benchmarks of these names or codes, or all, by code; large ones only by name. Raises UnknownBenchmark."""
    wanted = {name.lower() for name in names}
    known = {word.lower() for found in every() for word in (found.code, found.name)}
    if wanted - known:
        raise UnknownBenchmark(f"{', '.join(sorted(wanted - known))}; there are: {', '.join(sorted(known))}")
    return [
        found
        for found in every()
        if found.name.lower() in wanted or (not found.large and (not wanted or found.code.lower() in wanted))
    ]


def _modules() -> list[str]:
    return [f"{cases.__name__}.{module.name}" for module in pkgutil.iter_modules(cases.__path__)]
