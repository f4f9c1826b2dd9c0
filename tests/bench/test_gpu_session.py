"""A run on a GPU keeps its other results if a benchmark fails or its time is over."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu import primitives
from bench.gpu.machine import Machine
from bench.gpu.report import Report
from bench.gpu.session import Session

CONTEXT: Any = SimpleNamespace(ours=SimpleNamespace(mode="eager"), machine=Machine(torch.device("cpu")))


def benchmark(name: str, *, fails: bool) -> Benchmark:
    @contextmanager
    def prepare() -> Iterator[Round]:
        def measure(_b_first: bool) -> Samples:
            if fails:
                raise RuntimeError("operation not permitted when stream is capturing")
            return {"ratio": 2.0}

        yield measure

    return Benchmark(
        code="G9",
        name=name,
        a="theirs",
        b="ours",
        clock="wall",
        figures=(Figure(name="ratio", at_least=1.0),),
        prepare=prepare,
        rounds=2,
    )


def session(folder: Path, *, seconds: float = 60.0) -> Session:
    return Session(CONTEXT, Report("small", "CPU", folder=folder), ends_at=time.monotonic() + seconds)


def test_a_failure_is_reported_and_the_figures_before_and_after_it_are_kept(tmp_path: Path) -> None:
    run = session(tmp_path)
    for name, fails in (("first", False), ("broken", True), ("last", False)):
        run.attempt(name, lambda: run.measure(benchmark(name, fails=fails)))  # noqa: B023 (called within)
        [kept] = [json.loads(file.read_text())["benchmarks"] for file in tmp_path.iterdir()]
        assert "G9 first" in kept
    assert list(kept) == ["G9 first", "G9 last"]
    [error] = run.errors
    assert error.startswith("broken: ")
    assert "stream is capturing" in error


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    run = session(tmp_path, seconds=1.0)
    run.attempt("long", lambda: run.measure(benchmark("long", fails=False)), needs_seconds=10)
    assert run.errors == ["long: skipped, because only 1 s was left"]
    assert not list(tmp_path.iterdir())


def test_an_alternative_that_does_not_work_is_kept_as_its_error() -> None:
    def broken() -> float:
        raise RuntimeError("no such kernel")

    assert primitives.attempt(broken) == "RuntimeError: no such kernel"
    assert primitives.attempt(lambda: 1.5) == 1.5
