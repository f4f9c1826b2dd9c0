"""The command `python -m bench.gpu`: G1 to G7 on a GPU in ten minutes, or with `--small` on any machine."""

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import torch
from diffusers.utils import logging as diffusers_logging
from django.conf import settings

from bench import table
from bench.benchmark import Benchmark
from bench.gpu import jobs, pictures, profile, steady
from bench.gpu.contenders import Orders, Ours, Stock
from bench.gpu.context import Context
from bench.gpu.machine import Machine
from bench.gpu.models import SMALL, TRUE
from bench.gpu.report import FOLDER, Report, describe_machine
from bench.outcome import Outcome

MINUTES: Final = 9.0
# A benchmark gets this share of the remaining time, so that later ones have their turn.
SHARE: Final = 0.4


class Session:
    """One run: its remaining time, its outcomes and its errors."""

    def __init__(self, context: Context, report: Report, *, ends_at: float) -> None:
        """Begin nothing more after `ends_at`, on the monotonic clock."""
        self._context = context
        self._report = report
        self._ends_at = ends_at
        self.outcomes: list[Outcome] = []
        self.errors: list[str] = []

    @property
    def left_seconds(self) -> float:
        """Return the remaining seconds of the whole run."""
        return self._ends_at - time.monotonic()

    def attempt(self, name: str, work: Callable[[], object], *, needs_seconds: float = 0.0) -> None:
        """Do the work unless too little time is left. An error is kept for the end and stops nothing else."""
        if self.left_seconds < needs_seconds:
            self.errors.append(f"{name}: skipped, because only {self.left_seconds:.0f} s was left")
            return
        say(f"{name} … ({self.left_seconds:.0f} s left)")
        try:
            work()
        except Exception:  # noqa: BLE001
            # The other benchmarks are of use without this one.
            self.errors.append(f"{name}: {traceback.format_exc(limit=-6)}")

    def measure(self, benchmark: Benchmark) -> None:
        """Run a warm-up round, and then as many rounds as the benchmark has or as there is time for."""
        until = time.monotonic() + SHARE * self.left_seconds
        with benchmark.prepare() as one_round:
            one_round(False)
            rounds = [one_round(True)]
            while len(rounds) < benchmark.rounds and time.monotonic() < until:
                rounds.append(one_round(len(rounds) % 2 == 0))
        self.outcomes.append(Outcome(benchmark=replace(benchmark, rounds=len(rounds)), rounds=tuple(rounds)))
        self._report.add(self.outcomes[-1], self._context)

    def note(self, name: str, seen: Callable[[], dict[str, object]]) -> None:
        """Keep and print a finding that is no benchmark."""
        result = seen()
        self._report.note(name, result)
        for key, value in result.items():
            rows = value if isinstance(value, list) else [value]
            say("\n".join([f"  {key}:", *(f"    {row}" for row in rows)]))


def say(line: str) -> None:
    """Print the line at once, so that a run that is cut off has reported its progress."""
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run everything that there is time for. Return 1 if there was an error; a missed figure is none."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--small", action="store_true", help="use the small pipeline, to try the benchmarks themselves"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="begin nothing more after this time")
    parser.add_argument("--results", type=Path, default=FOLDER, help="the folder of the results files")
    options = parser.parse_args(arguments)
    if not settings.configured:
        settings.configure(USE_TZ=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stdout)
    diffusers_logging.set_verbosity_error()
    ends_at = time.monotonic() + 60 * options.minutes
    machine = Machine(torch.device(options.device))
    scale = SMALL if options.small else TRUE
    say("\n".join([f"{scale.name} on {machine.name}", *describe_machine()]))
    context = Context(
        machine=machine,
        scale=scale,
        orders=Orders(scale),
        stock=Stock(scale, machine),
        ours=Ours(scale, machine),
    )
    session = Session(context, Report(scale.name, machine.name, folder=options.results), ends_at=ends_at)
    run(session, context)
    say("\n".join(["", *table.format_lines(session.outcomes), *session.errors]))
    return 1 if session.errors else 0


def run(session: Session, context: Context) -> None:
    """Measure the most important figures first, and those that need minutes of compiling last."""
    sides = (context.scale.large, context.scale.little)
    context.flop_rate = context.machine.measure_flop_rate()
    session.attempt("counting operations", context.count_operations)
    session.attempt("floor", lambda: session.note("floor", lambda: _describe_floor(context)))
    session.attempt("stages, eager", lambda: session.note("stages eager", lambda: _measure_stages(context)))
    session.attempt("compiling", context.ours.compile, needs_seconds=60)
    say(f"our engine is {context.ours.mode}")
    session.attempt("stages", lambda: session.note("stages", lambda: _measure_stages(context)))
    session.attempt("launches", lambda: session.note("launches", lambda: profile.measure_launches(context)))
    benchmarks = {benchmark.name: benchmark for benchmark in _list_benchmarks(context)}
    for name, benchmark in benchmarks.items():
        session.attempt(f"{benchmark.code} {name}", partial(session.measure, benchmark), needs_seconds=15)
    session.attempt(
        "differences",
        lambda: session.note("differences", lambda: _measure_differences(context)),
        needs_seconds=10,
    )
    for side in sides:
        session.attempt(
            f"kernels of {side}²",
            partial(session.note, f"kernels {side}", partial(profile.list_kernels, context, side)),
            needs_seconds=20,
        )
    session.attempt("G1b", lambda: session.measure(pictures.build_tuned_benchmark(context)), needs_seconds=75)
    session.attempt(
        "other ways",
        lambda: session.note("other ways", lambda: profile.measure_alternatives(context)),
        needs_seconds=30,
    )


def _list_benchmarks(context: Context) -> list[Benchmark]:
    return [
        *steady.list_benchmarks(context)[:1],
        *pictures.list_benchmarks(context),
        *jobs.list_benchmarks(context),
        *steady.list_benchmarks(context)[1:],
    ]


def _describe_floor(context: Context) -> dict[str, object]:
    return {
        f"{side}²": {
            "TFLOP": {name: round(count / 1e12, 4) for name, count in counted.items()},
            "milliseconds at least": 1000 * context.compute_floor_seconds(side),
            "TFLOP/s of large products": context.flop_rate / 1e12,
        }
        for side, counted in context.operations.items()
    }


def _measure_stages(context: Context) -> dict[str, object]:
    return {
        f"{side}²": profile.measure_stages(context, side)
        for side in (context.scale.large, context.scale.little)
    }


def _measure_differences(context: Context) -> dict[str, object]:
    large, little = context.scale.large, context.scale.little
    return {
        f"{large}²": context.measure_differences(large),
        f"{little}²": context.measure_differences(little),
        "edit of two": context.measure_differences(little, sources=2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
