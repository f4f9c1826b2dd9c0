"""`python -m bench.gpu`: G1 to G7 on this machine's GPU, in ten minutes; with `--small`, every line on any machine."""

import argparse
import logging
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

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
from bench.gpu.report import FOLDER, Report, machine_lines
from bench.outcome import Outcome

MINUTES = 9.0
# A benchmark that can begin gets a part of what is left, so that those behind it have their turn.
SHARE = 0.4


class Session:
    """One run: what is left of its time, what came of it, and what went wrong."""

    def __init__(self, scene: Context, report: Report, *, ends_at: float) -> None:
        """`ends_at` by the monotonic clock: nothing more is begun then."""
        self._scene = scene
        self._report = report
        self._ends_at = ends_at
        self.outcomes: list[Outcome] = []
        self.problems: list[str] = []

    @property
    def left_seconds(self) -> float:
        """Of the whole run."""
        return self._ends_at - time.monotonic()

    def attempt(self, name: str, work: Callable[[], object], *, needs_seconds: float = 0.0) -> None:
        """Does it, unless too little time is left; what goes wrong is told in the end and stops nothing else."""
        if self.left_seconds < needs_seconds:
            self.problems.append(f"{name}: left out, for {self.left_seconds:.0f} s were left")
            return
        say(f"{name} … ({self.left_seconds:.0f} s left)")
        try:
            work()
        except Exception:  # noqa: BLE001
            # Each figure is worth having without the others.
            self.problems.append(f"{name}: {traceback.format_exc(limit=-6)}")

    def measure(self, benchmark: Benchmark) -> None:
        """One round that does not count, then as many as there are, or as there is time for."""
        until = time.monotonic() + SHARE * self.left_seconds
        with benchmark.ready() as one_round:
            one_round(False)
            rounds = [one_round(True)]
            while len(rounds) < benchmark.rounds and time.monotonic() < until:
                rounds.append(one_round(len(rounds) % 2 == 0))
        self.outcomes.append(Outcome(benchmark=replace(benchmark, rounds=len(rounds)), rounds=tuple(rounds)))
        self._report.add(self.outcomes[-1], self._scene)

    def note(self, name: str, seen: Callable[[], dict[str, object]]) -> None:
        """Keeps and says what informs."""
        result = seen()
        self._report.note(name, result)
        for key, value in result.items():
            rows = value if isinstance(value, list) else [value]
            say("\n".join([f"  {key}:", *(f"    {row}" for row in rows)]))


def say(line: str) -> None:
    """At once, so that a run that is cut off has said what it did."""
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Runs all there is time for; the exit status is 1 if anything went wrong. A missed figure is nothing wrong."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--small", action="store_true", help="the small pipeline, to try the benchmarks themselves"
    )
    parser.add_argument("--minutes", type=float, default=MINUTES, help="after which nothing more is begun")
    parser.add_argument(
        "--results", type=Path, default=FOLDER, help="the folder that keeps what was measured"
    )
    options = parser.parse_args(arguments)
    if not settings.configured:
        settings.configure(USE_TZ=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", stream=sys.stdout)
    diffusers_logging.set_verbosity_error()
    ends_at = time.monotonic() + 60 * options.minutes
    machine = Machine(torch.device(options.device))
    scale = SMALL if options.small else TRUE
    say("\n".join([f"{scale.name} on {machine.name}", *machine_lines()]))
    scene = Context(
        machine=machine,
        scale=scale,
        orders=Orders(scale),
        stock=Stock(scale, machine),
        ours=Ours(scale, machine),
    )
    session = Session(scene, Report(scale.name, machine.name, folder=options.results), ends_at=ends_at)
    run(session, scene)
    say("\n".join(["", *table.lines(session.outcomes), *session.problems]))
    return 1 if session.problems else 0


def run(session: Session, scene: Context) -> None:
    """What matters most first; what takes minutes to compile last."""
    sides = (scene.scale.large, scene.scale.little)
    scene.flop_rate = scene.machine.flop_rate()
    session.attempt("counting operations", scene.count_operations)
    session.attempt("floor", lambda: session.note("floor", lambda: _floor(scene)))
    session.attempt("stages, eager", lambda: session.note("stages eager", lambda: _stages(scene)))
    session.attempt("compiling", scene.ours.compile, needs_seconds=60)
    say(f"our engine is {scene.ours.mode}")
    session.attempt("stages", lambda: session.note("stages", lambda: _stages(scene)))
    session.attempt("launches", lambda: session.note("launches", lambda: profile.launches(scene)))
    listed = {benchmark.name: benchmark for benchmark in _listed(scene)}
    for name, benchmark in listed.items():
        session.attempt(f"{benchmark.code} {name}", partial(session.measure, benchmark), needs_seconds=15)
    session.attempt(
        "differences", lambda: session.note("differences", lambda: _differences(scene)), needs_seconds=10
    )
    for side in sides:
        session.attempt(
            f"kernels of {side}²",
            partial(session.note, f"kernels {side}", partial(profile.kernels, scene, side)),
            needs_seconds=20,
        )
    session.attempt("G1b", lambda: session.measure(pictures.tuned(scene)), needs_seconds=75)
    session.attempt(
        "other ways",
        lambda: session.note("other ways", lambda: profile.other_ways(scene)),
        needs_seconds=30,
    )


def _listed(scene: Context) -> list[Benchmark]:
    return [
        *steady.benchmarks(scene)[:1],
        *pictures.benchmarks(scene),
        *jobs.benchmarks(scene),
        *steady.benchmarks(scene)[1:],
    ]


def _floor(scene: Context) -> dict[str, object]:
    return {
        f"{side}²": {
            "TFLOP": {name: round(count / 1e12, 4) for name, count in counted.items()},
            "milliseconds at least": 1000 * scene.floor_seconds(side),
            "TFLOP/s of large products": scene.flop_rate / 1e12,
        }
        for side, counted in scene.operations.items()
    }


def _stages(scene: Context) -> dict[str, object]:
    return {f"{side}²": profile.stages(scene, side) for side in (scene.scale.large, scene.scale.little)}


def _differences(scene: Context) -> dict[str, object]:
    large, little = scene.scale.large, scene.scale.little
    return {
        f"{large}²": scene.differences(large),
        f"{little}²": scene.differences(little),
        "edit of two": scene.differences(little, sources=2),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
