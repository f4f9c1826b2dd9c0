"""G1, G1b, G2, G3 and G5: whole pictures, from prompt to pixels on the host."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.contenders import Stock
from bench.gpu.context import Context

# So often each side is called in a round.
TIMES = 3


def benchmarks(scene: Context) -> list[Benchmark]:
    """Those that compare with diffusers' pipeline as it is, and batches with single pictures."""
    large, little = scene.scale.large, scene.scale.little
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
            ready=partial(_compare, scene, lambda: scene.stock, large),
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
            ready=partial(_compare, scene, lambda: scene.stock, little),
        ),
        Benchmark(
            code="G3",
            name="edit",
            a=f"Flux2KleinPipeline, an edit of two references of {large}² to {large}², to PIL",
            b="our engine, to pixels on the host",
            clock="wall",
            figures=(Figure(name="ratio", at_least=1.25, aim=1.5),),
            ready=partial(_compare, scene, lambda: scene.stock, large, sources=2),
        ),
        _batches(scene, "batch-little", little, at_least=1.3, aim=1.5),
        _batches(scene, "batch-large", large, at_least=1.05, aim=1.12),
    ]


def tuned(scene: Context) -> Benchmark:
    """Compiling the other side takes minutes, so this one comes late."""
    large = scene.scale.large
    return Benchmark(
        code="G1b",
        name="create-tuned",
        a=f"Flux2KleinPipeline with compiled blocks and VAE, channels last, cuDNN attention: {large}², to PIL",
        b="our engine, to pixels on the host",
        clock="wall",
        figures=(Figure(name="ratio", at_least=1.1, aim=1.3),),
        ready=partial(_compare, scene, lambda: scene.tuned, large),
    )


@contextmanager
def _compare(scene: Context, theirs: Callable[[], Stock], side: int, *, sources: int = 0) -> Iterator[Round]:
    stock = theirs()

    def measure(b_first: bool) -> Samples:
        seconds = {}
        for name in "BA" if b_first else "AB":
            make = stock.make if name == "A" else scene.ours.make
            batches = [scene.orders(side, sources=sources) for _ in range(TIMES)]
            total = scene.machine.seconds(lambda: [make(batch) for batch in batches])  # noqa: B023 - called at once
            seconds[name] = total / TIMES
        samples = {**seconds, "ratio": seconds["A"] / seconds["B"]}
        if not sources:
            samples["over the floor"] = seconds["B"] / scene.floor_seconds(side)
        return samples

    yield measure


def _batches(scene: Context, name: str, side: int, *, at_least: float, aim: float) -> Benchmark:
    return Benchmark(
        code="G5",
        name=name,
        a=f"our engine, four creates of {side}² one by one",
        b="the same four as one batch",
        clock="wall",
        figures=(Figure(name="ratio", at_least=at_least, aim=aim),),
        ready=partial(_together, scene, side),
    )


def _together(scene: Context, side: int) -> AbstractContextManager[Round]:
    @contextmanager
    def ready() -> Iterator[Round]:
        def measure(b_first: bool) -> Samples:
            seconds = {}
            for name in "BA" if b_first else "AB":
                four = scene.orders(side, how_many=4)
                batches = [[order] for order in four] if name == "A" else [four]
                total = scene.machine.seconds(lambda: [scene.ours.make(batch) for batch in batches])  # noqa: B023
                seconds[name] = total / len(four)
            return {**seconds, "ratio": seconds["A"] / seconds["B"]}

        yield measure

    return ready()
