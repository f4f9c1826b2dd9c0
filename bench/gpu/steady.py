"""G4 and G7: the denoising alone, compared with the rate of the matrix units, and of many shapes in turn."""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import torch
from torch._dynamo.utils import counters

from bench.benchmark import Benchmark, Figure, Round, Samples
from bench.gpu.context import Context
from workers.engine.interface import DeviceLost, ImageOrder

# The number of calls of each shape in a round.
TIMES: Final = 6


def list_benchmarks(context: Context) -> list[Benchmark]:
    """Return both benchmarks."""
    large = context.scale.large
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
            prepare=partial(_prepare_denoise, context),
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
            prepare=partial(_prepare_mixed_shapes, context),
            rounds=3,
        ),
    ]


@contextmanager
def _prepare_denoise(context: Context) -> Iterator[Round]:
    large, machine = context.scale.large, context.machine

    def measure(b_first: bool) -> Samples:
        rates = [] if b_first else [machine.measure_flop_rate(rounds=3)]
        prepared = [context.ours.engine.prepare(context.orders(large)) for _ in range(TIMES)]
        edit = context.ours.engine.prepare(context.orders(large, sources=1))
        seconds = statistics.median(
            machine.measure_device_seconds(partial(context.ours.denoise, each)) for each in prepared
        )
        if b_first:
            rates.append(machine.measure_flop_rate(rounds=3))
        context.flop_rate = rates[0]
        return {
            "of the products' rate": context.operations[large]["denoise"] / seconds / rates[0],
            "TFLOP/s of the products": rates[0] / 1e12,
            "milliseconds": 1000 * seconds,
            "waits of the host": float(_waits(context, prepared[0]) + _waits(context, edit)),
        }

    yield measure


def _waits(context: Context, prepared: Any) -> bool:
    """Return True if the host has to wait for the device while it denoises."""
    if not context.machine.is_gpu:
        return False
    context.machine.wait()
    torch.cuda.set_sync_debug_mode("error")
    try:
        context.ours.denoise(prepared)
    except (RuntimeError, DeviceLost) as error:
        # The engine's own check of the device is refused too, with the same message.
        if "synchroniz" not in str(error):
            raise
        return True
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return False


@contextmanager
def _prepare_mixed_shapes(context: Context) -> Iterator[Round]:
    shapes = _list_shapes(context)
    prepared = {name: context.ours.engine.prepare(orders) for name, orders in shapes.items()}

    def measure(_: bool) -> Samples:
        before = _count_compiled()
        seconds: dict[str, list[float]] = {name: [] for name in prepared}
        for _time in range(TIMES):
            for name, each in prepared.items():
                seconds[name].append(
                    context.machine.measure_device_seconds(partial(context.ours.denoise, each))
                )
        slowest = {name: max(times) / statistics.median(times) for name, times in seconds.items()}
        named = [value for name, value in slowest.items() if not name.startswith("unnamed")]
        unnamed = [value for name, value in slowest.items() if name.startswith("unnamed")]
        return {
            "compiled anew": float(_count_compiled() - before),
            "slowest of a shape": max(named),
            "slowest unnamed": max(unnamed),
        }

    yield measure


def _list_shapes(context: Context) -> dict[str, list[ImageOrder]]:
    large, little, orders = context.scale.large, context.scale.little, context.orders
    wide = large * 3 // 4
    return {
        "large": orders(large),
        "large, 2": orders(large, how_many=2),
        "little": orders(little),
        "little, 3": orders(little, how_many=3),
        "little, 4": orders(little, how_many=4),
        "unnamed wide": [orders.make_one(large, wide)],
        "unnamed high, 2": [orders.make_one(wide, large) for _ in range(2)],
        "unnamed edit": orders(little, sources=1),
        "unnamed edit of two": [orders.make_one(little, little, sources=[(little, wide), (wide, little)])],
        "unnamed edits, 2": [orders.make_one(little, large, sources=[(wide, wide)]) for _ in range(2)],
    }


def _count_compiled() -> int:
    return int(counters["stats"]["unique_graphs"])
