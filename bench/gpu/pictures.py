"""G1, G1b, G2, G3 and G5: whole pictures, from prompt to pixels on the host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.contenders import Stock
from bench.gpu.context import Context
from workers.engine.interface import ImageOrder

# The number of calls of each side in a round.
TIMES: Final = 3


def list_benchmarks(context: Context) -> list[Benchmark]:
    """Return the comparisons with diffusers' pipeline as it is, and of batches with single pictures."""
    large, little = context.scale.large, context.scale.little
    return [
        Benchmark(
            code="G1",
            name="create-large",
            a=f"Flux2KleinPipeline, one create of {large}², to PIL",
            b="our engine, to pixels on the host",
            clock="wall",
            figures=(
                Figure(name="ratio", at_least=1.7, aim=2.1),
                Figure(name="over the floor", at_least=1.25, lower_is_better=True),
            ),
            prepare=partial(_prepare_comparison, context, lambda: context.stock, large),
        ),
        Benchmark(
            code="G2",
            name="create-little",
            a=f"Flux2KleinPipeline, one create of {little}², to PIL",
            b="our engine, to pixels on the host",
            clock="wall",
            figures=(
                Figure(name="ratio", at_least=2.0, aim=2.8),
                Figure(name="over the floor", lower_is_better=True),
            ),
            prepare=partial(_prepare_comparison, context, lambda: context.stock, little),
        ),
        Benchmark(
            code="G3",
            name="edit",
            a=f"Flux2KleinPipeline, an edit of two references of {large}² to {large}², to PIL",
            b="our engine, to pixels on the host",
            clock="wall",
            figures=(Figure(name="ratio", at_least=1.25, aim=1.5),),
            prepare=partial(_prepare_comparison, context, lambda: context.stock, large, sources=2),
        ),
        _build_batch_benchmark(context, "batch-little", little, at_least=1.3, aim=1.5),
        _build_batch_benchmark(context, "batch-large", large, at_least=1.05, aim=1.12),
    ]


def build_tuned_benchmark(context: Context) -> Benchmark:
    """Return the comparison with the tuned pipeline, which takes minutes to compile."""
    large = context.scale.large
    return Benchmark(
        code="G1b",
        name="create-tuned",
        a=f"Flux2KleinPipeline with compiled blocks and VAE, channels last, cuDNN attention: {large}², to PIL",
        b="our engine, to pixels on the host",
        clock="wall",
        figures=(Figure(name="ratio", at_least=1.1, aim=1.3),),
        prepare=partial(_prepare_comparison, context, lambda: context.tuned, large),
    )


@contextmanager
def _prepare_comparison(
    context: Context, theirs: Callable[[], Stock], side: int, *, sources: int = 0
) -> Iterator[Round]:
    stock = theirs()

    def measure(b_first: bool) -> Samples:
        seconds = {}
        for name in "BA" if b_first else "AB":
            make = stock.make if name == "A" else context.ours.make
            batches = [context.orders(side, sources=sources) for _ in range(TIMES)]
            total = context.machine.measure_seconds(partial(_make_each, make, batches))
            seconds[name] = total / TIMES
        samples = {**seconds, "ratio": seconds["A"] / seconds["B"]}
        if not sources:
            samples["over the floor"] = seconds["B"] / context.compute_floor_seconds(side)
        return samples

    yield measure


def _build_batch_benchmark(
    context: Context, name: str, side: int, *, at_least: float, aim: float
) -> Benchmark:
    return Benchmark(
        code="G5",
        name=name,
        a=f"our engine, four creates of {side}² one by one",
        b="the same four as one batch",
        clock="wall",
        figures=(Figure(name="ratio", at_least=at_least, aim=aim),),
        prepare=partial(_prepare_batches, context, side),
    )


@contextmanager
def _prepare_batches(context: Context, side: int) -> Iterator[Round]:
    def measure(b_first: bool) -> Samples:
        seconds = {}
        for name in "BA" if b_first else "AB":
            four = context.orders(side, how_many=4)
            batches = [[order] for order in four] if name == "A" else [four]
            total = context.machine.measure_seconds(partial(_make_each, context.ours.make, batches))
            seconds[name] = total / len(four)
        return {**seconds, "ratio": seconds["A"] / seconds["B"]}

    yield measure


def _make_each(make: Callable[[list[ImageOrder]], object], batches: list[list[ImageOrder]]) -> None:
    for batch in batches:
        make(batch)
