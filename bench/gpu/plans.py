"""The order of all measurements: what is quick and certain first, and what takes minutes of compiling last."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

from bench.benchmark import ROUNDS, Benchmark
from bench.gpu import checks, compile_cache, jobs, pictures, primitives, profile, steady
from bench.gpu.contenders import select_backend
from bench.gpu.context import Context
from bench.gpu.session import Session, say

# At most this share of the remaining time goes to the compiler, so that its product is measured too.
COMPILING_SHARE: Final = 0.6
# Those that show first whether the pictures are right, and where the time goes.
QUICK: Final = ("differences", "company", "stages", "launches", "memory")
# Options of the engine, each measured beside the engine without it.
VARIANTS: Final[dict[str, dict[str, object]]] = {
    "float8": {"precision": "float8"},
    "tuned": {"compile_tuned": True},
    "each size": {"compile_each_size": True},
}
# A step, from its name to the seconds that it needs and its work.
Step = tuple[str, float, Callable[[], object]]


def run_first(session: Session, context: Context) -> None:
    """Measure the device, the plain engine, graphs alone and then all of it compiled."""
    _run(
        session,
        [
            ("floor", 0, partial(_note_floor, session, context)),
            ("primitives", 0, partial(session.note, "primitives", partial(primitives.measure, context))),
            *_list_notes(session, context, QUICK, "eager"),
            ("graphs alone", 30, partial(context.ours.compile, None)),
            *_list_notes(session, context, QUICK, "graphs alone"),
            *_list_benchmarks(
                session, context, ["create-large", "create-little"], label="graphs alone", rounds=3
            ),
            ("compiling", 60, partial(_compile, session, context)),
            *_list_notes(session, context, QUICK),
            *_list_benchmarks(session, context, ["denoise", "create-large", "create-little"]),
            *_list_benchmarks(session, context, ["edit", "batch-little", "batch-large"], rounds=3),
            *_list_benchmarks(session, context, ["mixed-shapes", "jobs-large", "jobs-little"], rounds=1),
            *_list_kernels(session, context),
        ],
    )


def run_second(session: Session, context: Context) -> None:
    """Compile with what an earlier run has compiled, and measure what that run had no time for."""
    _run(
        session,
        [
            ("floor", 0, partial(_note_floor, session, context)),
            ("compiling", 30, partial(_compile, session, context)),
            *_list_notes(session, context, ["differences", "stages", "lack of memory", "priorities"]),
            *_list_benchmarks(session, context, ["denoise", "create-large", "create-little"], rounds=3),
            *_list_benchmarks(session, context, ["edit"], rounds=2),
            *_list_variants(session, context),
            ("G1b", 75, lambda: session.measure(pictures.build_tuned_benchmark(context))),
            *_list_benchmarks(session, context, ["jobs-large"], rounds=1),
            (
                "other ways",
                30,
                partial(session.note, "other ways", partial(profile.measure_alternatives, context)),
            ),
            *_list_kernels(session, context),
        ],
    )


def run_all(session: Session, context: Context) -> None:
    """Do both in one run, which takes about twenty minutes."""
    run_first(session, context)
    run_second(session, context)


PLANS: Final[dict[str, Callable[[Session, Context], None]]] = {
    "first": run_first,
    "second": run_second,
    "all": run_all,
}


def save_compile_cache(session: Session, folder: Path) -> None:
    """Keep what was compiled for a second run."""
    session.attempt("keeping what was compiled", lambda: say(f"  {compile_cache.save(folder)} bytes"))


def _run(session: Session, steps: Sequence[Step]) -> None:
    for name, needs_seconds, work in steps:
        session.attempt(name, work, needs_seconds=needs_seconds)


def _note_floor(session: Session, context: Context) -> None:
    context.flop_rate = context.machine.measure_flop_rate()
    context.count_operations()
    session.note("floor", partial(_describe_floor, context))


def _compile(session: Session, context: Context) -> None:
    until = time.monotonic() + COMPILING_SHARE * session.left_seconds
    context.ours.compile(select_backend(context.machine), until=until)
    say(f"  our engine is {context.ours.mode}")


def _list_notes(session: Session, context: Context, names: Sequence[str], label: str = "") -> list[Step]:
    """Return findings about the engine as it is when they are made."""
    return [
        (
            f"{name} {label}".strip(),
            10,
            partial(session.note, f"{name} {label}".strip(), partial(FINDINGS[name], context)),
        )
        for name in names
    ]


def _list_benchmarks(
    session: Session, context: Context, names: Sequence[str], *, label: str = "", rounds: int = ROUNDS
) -> list[Step]:
    built = {
        name: replace(benchmark, rounds=min(rounds, benchmark.rounds))
        for name, benchmark in _build_benchmarks(context).items()
    }
    return [
        (
            f"{built[name].code} {name} {label}".strip(),
            15,
            partial(session.measure, replace(built[name], name=f"{name} {label}".strip())),
        )
        for name in names
    ]


def _build_benchmarks(context: Context) -> dict[str, Benchmark]:
    every = [
        *steady.list_benchmarks(context),
        *pictures.list_benchmarks(context),
        *jobs.list_benchmarks(context),
    ]
    return {benchmark.name: benchmark for benchmark in every}


def _list_variants(session: Session, context: Context) -> list[Step]:
    return [
        (name, 40, partial(session.note, name, partial(profile.measure_variant, context, **options)))
        for name, options in VARIANTS.items()
    ]


def _list_kernels(session: Session, context: Context) -> list[Step]:
    return [
        (
            f"kernels of {side}²",
            20,
            partial(session.note, f"kernels {side}", partial(profile.list_kernels, context, side)),
        )
        for side in (context.scale.large, context.scale.little)
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
        f"{little}²": context.measure_differences(little),
        "edit of two": context.measure_differences(little, sources=2),
        f"{large}²": context.measure_differences(large),
    }


FINDINGS: Final[dict[str, Callable[[Context], dict[str, object]]]] = {
    "differences": _measure_differences,
    "company": checks.check_company,
    "stages": _measure_stages,
    "launches": profile.measure_launches,
    "memory": checks.measure_memory,
    "lack of memory": checks.check_lack_of_memory,
    "priorities": profile.measure_priorities,
}
