"""The device's own rates: attention by each kernel, matrix products in two precisions, and copies.

Shapes: B orders, H heads, T tokens, D the width of a head.
"""

import statistics
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import torch
from diffusers.models.attention_dispatch import AttentionBackendName
from torch.nn import functional

from bench.gpu.context import Context
from bench.gpu.machine import Machine
from workers.pipelines.runtime.attention import KERNELS

# FLUX.2-klein-4B's.
HEADS: Final = 24
HEAD_WIDTH: Final = 128
WIDTH: Final = 3072
# A create of 1024x1024, one and four of 512x512, and an edit of two sources of a megapixel: orders and tokens.
ATTENTION_SHAPES: Final = ((1, 4608), (1, 1536), (4, 1536), (1, 12_800))
# The single block's two products, and the double block's output.
PRODUCTS: Final = ((WIDTH, 9 * WIDTH), (4 * WIDTH, WIDTH), (WIDTH, WIDTH))
# Token counts that no earlier call had.
ODD_TOKEN_COUNTS: Final = (1931, 2477, 3083, 5101, 7349)
# The VAE's one attention, at 1024x1024 pixels: tokens and width.
VAE_TOKENS: Final = 16_384
VAE_WIDTH: Final = 512
FLOAT8: Final = torch.float8_e4m3fn

Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def measure(context: Context) -> dict[str, Any]:
    """Return the milliseconds or rates of each primitive, or the error of one that does not work here."""
    machine = context.machine
    ways: dict[str, Callable[[], object]] = {"copies, TB/s": partial(_measure_copy_rate, machine)}
    for name, kernel in _list_kernels().items():
        for orders, tokens in ATTENTION_SHAPES if machine.is_gpu else ATTENTION_SHAPES[1:2]:
            ways[f"attention of {orders}x{tokens}, {name}"] = partial(
                _measure_attention, machine, kernel, (orders, HEADS, tokens, HEAD_WIDTH)
            )
        if machine.is_gpu:
            ways[f"first and second call, {name}"] = partial(_measure_first_calls, machine, kernel)
    if machine.is_gpu:
        vae = (1, 1, VAE_TOKENS, VAE_WIDTH)
        ways["VAE's attention, native"] = partial(
            _measure_attention, machine, functional.scaled_dot_product_attention, vae
        )
        ways["VAE's attention, as products"] = partial(_measure_attention, machine, _attend_by_products, vae)
        for rows in (4608, 1536):
            for inner, columns in PRODUCTS:
                name = f"product of {rows}x{inner}x{columns}, TFLOP/s"
                ways[f"{name}, bfloat16"] = partial(_measure_product, machine, rows, inner, columns)
                ways[f"{name}, float8"] = partial(_measure_float8_product, machine, rows, inner, columns)
    return {name: attempt(way) for name, way in ways.items()}


def attempt(way: Callable[[], object]) -> object:
    """Return the result, or the error as text: a way that fails on this device is a finding too."""
    try:
        return way()
    except Exception as error:  # noqa: BLE001
        return f"{type(error).__name__}: {error}"


def _list_kernels() -> Mapping[str, Kernel]:
    return {
        "native": functional.scaled_dot_product_attention,
        "cudnn": KERNELS[AttentionBackendName._NATIVE_CUDNN],
        "flash": KERNELS[AttentionBackendName._NATIVE_FLASH],
    }


def _draw(machine: Machine, *shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=machine.dtype, device=machine.device)


def _measure_milliseconds(machine: Machine, work: Callable[[], object], *, times: int = 5) -> float:
    """Return the milliseconds of one call by the device's clock."""

    def calls() -> None:
        for _ in range(times):
            work()

    calls()
    seconds = statistics.median(machine.measure_device_seconds(calls) for _ in range(3))
    return round(1000 * seconds / times, 4)


def _measure_copy_rate(machine: Machine) -> float:
    source = torch.empty(2**31 if machine.is_gpu else 2**26, dtype=torch.uint8, device=machine.device)
    target = torch.empty_like(source)
    milliseconds = _measure_milliseconds(machine, lambda: target.copy_(source))
    return round(2 * source.numel() / milliseconds / 1e9, 3)


def _measure_attention(
    machine: Machine, kernel: Kernel, shape_BHTD: tuple[int, int, int, int]
) -> dict[str, float]:
    inputs = [_draw(machine, *shape_BHTD) for _ in range(3)]
    milliseconds = _measure_milliseconds(machine, lambda: kernel(*inputs))
    orders, heads, tokens, width = shape_BHTD
    operations = 4 * orders * heads * tokens**2 * width
    return {"milliseconds": milliseconds, "TFLOP/s": round(operations / milliseconds / 1e9, 1)}


def _measure_first_calls(machine: Machine, kernel: Kernel) -> list[tuple[float, float]]:
    """Return the milliseconds until the device is idle, for a shape's first and second call in a new thread."""
    found: list[tuple[float, float]] = []

    def call_each() -> None:
        for tokens in ODD_TOKEN_COUNTS:
            inputs = [_draw(machine, 1, HEADS, tokens, HEAD_WIDTH) for _ in range(3)]
            machine.wait()
            times = []
            for _ in range(2):
                started = time.perf_counter()
                kernel(*inputs)
                machine.wait()
                times.append(round(1000 * (time.perf_counter() - started), 2))
            found.append((times[0], times[1]))

    thread = threading.Thread(target=call_each)
    thread.start()
    thread.join()
    return found


def _attend_by_products(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    scores = (query @ key.transpose(-1, -2)) * query.shape[-1] ** -0.5
    result: torch.Tensor = scores.softmax(dim=-1) @ value
    return result


def _measure_product(machine: Machine, rows: int, inner: int, columns: int) -> float:
    left, right = _draw(machine, rows, inner), _draw(machine, columns, inner)
    milliseconds = _measure_milliseconds(machine, lambda: left @ right.T)
    return round(2 * rows * inner * columns / milliseconds / 1e9, 1)


def _measure_float8_product(machine: Machine, rows: int, inner: int, columns: int) -> float:
    """Return the rate with a scale for each row and each column, which are given."""
    left = _draw(machine, rows, inner).to(FLOAT8)
    right = _draw(machine, columns, inner).to(FLOAT8)
    row_scale = torch.ones((rows, 1), device=machine.device)
    column_scale = torch.ones((1, columns), device=machine.device)
    milliseconds = _measure_milliseconds(
        machine,
        lambda: torch._scaled_mm(left, right.T, row_scale, column_scale, out_dtype=machine.dtype),
    )
    return round(2 * rows * inner * columns / milliseconds / 1e9, 1)
