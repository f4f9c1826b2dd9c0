"""G4 and G7: the denoising alone, beside what the matrix units can do, and of many shapes in turn."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch._dynamo.utils import counters

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.context import Context
from workers.engine.interface import DeviceLost, ImageOrder

# Of each shape in a round.
TIMES = 10


def benchmarks(scene: Context) -> list[Benchmark]:
    """Both."""
    large = scene.scale.large
    return [
        Benchmark(
            code="G4",
            name="denoise",
            a="large matrix products in the same precision, in the same round",
            b=f"the denoising of one create of {large}²",
            clock="device",
            figures=(
                Figure(name="of the products' rate", at_least=0.80, aim=0.88, unit=""),
                Figure(name="TFLOP/s of the products", unit=""),
                Figure(name="milliseconds", unit=" ms", lower_is_better=True),
                Figure(name="waits of the host", at_least=0, lower_is_better=True, unit=""),
            ),
            ready=partial(_denoise, scene),
        ),
        Benchmark(
            code="G7",
            name="mixed-shapes",
            a="ten shapes in turn, half of them not named to the compiler",
            b="the same",
            clock="device",
            figures=(
                Figure(name="compiled anew", at_least=0, lower_is_better=True, unit=""),
                Figure(name="slowest of a shape", at_least=1.02, lower_is_better=True),
                Figure(name="slowest unnamed", lower_is_better=True),
            ),
            ready=partial(_mixed, scene),
            rounds=3,
        ),
    ]


@contextmanager
def _denoise(scene: Context) -> Iterator[Round]:
    large, machine = scene.scale.large, scene.machine

    def measure(b_first: bool) -> Samples:
        rates = [] if b_first else [machine.flop_rate(rounds=3)]
        prepared = [scene.ours.engine.prepare(scene.orders(large)) for _ in range(TIMES)]
        edit = scene.ours.engine.prepare(scene.orders(large, sources=1))
        seconds = statistics.median(
            machine.device_seconds(partial(scene.ours.denoise, each)) for each in prepared
        )
        if b_first:
            rates.append(machine.flop_rate(rounds=3))
        scene.flop_rate = rates[0]
        return {
            "of the products' rate": scene.operations[large]["denoise"] / seconds / rates[0],
            "TFLOP/s of the products": rates[0] / 1e12,
            "milliseconds": 1000 * seconds,
            "waits of the host": float(_waits(scene, prepared[0]) + _waits(scene, edit)),
        }

    yield measure


def _waits(scene: Context, prepared: Any) -> bool:
    """Whether the host has to wait for the device while it denoises."""
    if not scene.machine.is_gpu:
        return False
    scene.machine.wait()
    torch.cuda.set_sync_debug_mode("error")
    try:
        scene.ours.denoise(prepared)
    except (RuntimeError, DeviceLost) as problem:
        # The engine, too, asks the device whether it still answers, and is refused that in the same words.
        if "synchroniz" not in str(problem):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


@contextmanager
def _mixed(scene: Context) -> Iterator[Round]:
    shapes = _shapes(scene)
    prepared = {name: scene.ours.engine.prepare(orders) for name, orders in shapes.items()}

    def measure(_: bool) -> Samples:
        before = _compiled_count()
        seconds: dict[str, list[float]] = {name: [] for name in prepared}
        for _time in range(TIMES):
            for name, each in prepared.items():
                seconds[name].append(scene.machine.device_seconds(partial(scene.ours.denoise, each)))
        slowest = {name: max(times) / statistics.median(times) for name, times in seconds.items()}
        named = [value for name, value in slowest.items() if not name.startswith("unnamed")]
        unnamed = [value for name, value in slowest.items() if name.startswith("unnamed")]
        return {
            "compiled anew": float(_compiled_count() - before),
            "slowest of a shape": max(named),
            "slowest unnamed": max(unnamed),
        }

    yield measure


def _shapes(scene: Context) -> dict[str, list[ImageOrder]]:
    large, little, orders = scene.scale.large, scene.scale.little, scene.orders
    wide = large * 3 // 4
    return {
        "large": orders(large),
        "large, 2": orders(large, how_many=2),
        "little": orders(little),
        "little, 3": orders(little, how_many=3),
        "little, 4": orders(little, how_many=4),
        "unnamed wide": [orders.one(large, wide)],
        "unnamed high, 2": [orders.one(wide, large) for _ in range(2)],
        "unnamed edit": orders(little, sources=1),
        "unnamed edit of two": [orders.one(little, little, sources=[(little, wide), (wide, little)])],
        "unnamed edits, 2": [orders.one(little, large, sources=[(wide, wide)]) for _ in range(2)],
    }


def _compiled_count() -> int:
    return int(counters["stats"]["unique_graphs"])
