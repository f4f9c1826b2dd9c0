"""The command `python -m bench [NAME…]`: it runs benchmarks, prints one table, and keeps the results."""

import argparse
import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime

from bench import database, results, table
from bench.benchmark import Benchmark, Skipped


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmarks, or all. Return 1 if a benchmark failed.

    A missed figure is no failure, because machines differ.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="name or code of a benchmark (default: all but the large ones)",
    )
    parser.add_argument("--list", action="store_true", help="list the benchmarks and exit")
    parser.add_argument("--discard", action="store_true", help="keep no results")
    options = parser.parse_args(arguments)
    _configure()
    from bench import registry  # noqa: PLC0415 - benchmarks import models, which need the settings

    try:
        benchmarks = registry.find(options.names)
    except registry.UnknownBenchmark as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{found.code:4} {found.name:14} {found.a}" for found in registry.list_benchmarks()))
        return 0
    failed = _run(benchmarks, keep=not options.discard)
    if unnamed := [
        found.name for found in registry.list_benchmarks() if found.large and found not in benchmarks
    ]:
        print(f"\nRun only by name: {', '.join(unnamed)}")
    return 1 if failed else 0


def _configure() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
    os.environ.setdefault("DEBUG", "1")
    import django  # noqa: PLC0415 - reads the lines above

    django.setup()
    # Messages about success come a thousand times a round.
    logging.getLogger("workers").setLevel(logging.WARNING)


def _run(benchmarks: Sequence[Benchmark], *, keep: bool) -> list[str]:
    """Print the outcomes, and return the errors of benchmarks that failed."""
    from bench.outcome import run  # noqa: PLC0415 - needs the settings

    needs_database = any(found.needs_database for found in benchmarks)
    load, outcomes, skipped, failed = os.getloadavg()[0], [], [], []
    with database.create_temporary() if needs_database else contextlib.nullcontext():
        for benchmark in benchmarks:
            print(f"{benchmark.code} {benchmark.name} …", file=sys.stderr, flush=True)
            try:
                outcomes.append(run(benchmark))
            except Skipped as lack:
                skipped.append(f"{benchmark.code} {benchmark.name} was skipped: {lack}")
                continue
            except Exception:  # noqa: BLE001
                # The other benchmarks are of use without this one.
                failed.append(f"{benchmark.code} {benchmark.name} failed: {traceback.format_exc(limit=-6)}")
                continue
            if keep:
                # A later failure must not lose hours of results.
                path = results.write(outcomes[-1], now=datetime.now(UTC), load=load)
    print("\n".join([*table.format_lines(outcomes), *skipped, *failed]))
    if keep and outcomes:
        print(f"\n{path}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
