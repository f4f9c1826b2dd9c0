"""`python -m bench [NAME…]`: runs the benchmarks, prints one table, and keeps what was measured."""

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
    """Runs what is named, or everything; the exit status is 1 if a benchmark did not come to its end. A figure that is
    missed is no failure: machines differ.
    """
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a benchmark's name or code; all without one"
    )
    parser.add_argument("--list", action="store_true", help="only says which there are")
    parser.add_argument("--discard", action="store_true", help="keeps no results")
    options = parser.parse_args(arguments)
    _configure()
    from bench import registry  # noqa: PLC0415 - benchmarks import models, which need the settings

    try:
        benchmarks = registry.find(options.names)
    except registry.UnknownBenchmark as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{found.code:4} {found.name:14} {found.a}" for found in registry.every()))
        return 0
    failed = _run(benchmarks, keep=not options.discard)
    if unnamed := [found.name for found in registry.every() if found.large and found not in benchmarks]:
        print(f"\nRun only when they are named: {', '.join(unnamed)}")
    return 1 if failed else 0


def _configure() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "zekron_api.settings")
    os.environ.setdefault("DEBUG", "1")
    import django  # noqa: PLC0415 - reads the lines above

    django.setup()
    # What goes well is said a thousand times a round.
    logging.getLogger("workers").setLevel(logging.WARNING)


def _run(benchmarks: Sequence[Benchmark], *, keep: bool) -> list[str]:
    """Prints what came of them, and gives what went wrong with those that did not end."""
    from bench.outcome import run  # noqa: PLC0415 - needs the settings

    needs_database = any(found.needs_database for found in benchmarks)
    load, outcomes, left_out, failed = os.getloadavg()[0], [], [], []
    with database.temporary() if needs_database else contextlib.nullcontext():
        for benchmark in benchmarks:
            print(f"{benchmark.code} {benchmark.name} …", file=sys.stderr, flush=True)
            try:
                outcomes.append(run(benchmark))
            except Skipped as lack:
                left_out.append(f"{benchmark.code} {benchmark.name} was left out: {lack}")
                continue
            except Exception:  # noqa: BLE001
                # Each figure is worth having without the others.
                failed.append(f"{benchmark.code} {benchmark.name} failed: {traceback.format_exc(limit=-6)}")
                continue
            if keep:
                # At once, so that hours are not lost with the last minute.
                path = results.write(outcomes[-1], now=datetime.now(UTC), load=load)
    print("\n".join([*table.lines(outcomes), *left_out, *failed]))
    if keep and outcomes:
        print(f"\n{path}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
