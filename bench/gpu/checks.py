"""The checks of an engine on a device: equal pictures, the memory of large batches, and work after an error."""

from typing import Any

import numpy as np
import torch

from bench.gpu.context import Context, read_memory_gigabytes
from workers.engine.interface import ImageOrder, Picture

# Memory left to an engine that is to run out of it.
LEFT_BYTES = 256 * 1024**2


def check_company(context: Context) -> dict[str, Any]:
    """Return the differences, of 255, of one order's picture alone, made again, and in a batch."""
    found = {}
    for side in (context.scale.large, context.scale.little):
        orders = context.orders(side, how_many=context.ours.engine.batch_limit)
        alone = _make_one(context, orders[0])
        found[f"{side}², made again"] = describe_difference(alone, _make_one(context, orders[0]))
        found[f"{side}², with {len(orders) - 1} others"] = describe_difference(
            alone, context.ours.make(orders)[0]
        )
    return found


def measure_memory(context: Context) -> dict[str, Any]:
    """Return the gigabytes that tensors hold at rest and at most, by batch."""
    large, limit = context.scale.large, context.ours.engine.batch_limit
    found: dict[str, Any] = {"at rest": _read_held_gigabytes(context)}
    batches = {
        f"a create of {large}²": context.orders(large),
        f"{limit} creates of {large}²": context.orders(large, how_many=limit),
        f"an edit of two of {large}²": context.orders(large, sources=2),
        f"{limit} edits of two of {large}²": context.orders(large, how_many=limit, sources=2),
    }
    for name, orders in batches.items():
        if context.machine.is_gpu:
            torch.cuda.reset_peak_memory_stats(context.machine.device)
        context.ours.make(orders)
        found[f"{name}, at most"] = round(read_memory_gigabytes(context.machine), 2)
    return found


def check_lack_of_memory(context: Context) -> dict[str, Any]:
    """Return what an engine without memory raises, and whether it makes the same picture afterwards."""
    if not context.machine.is_gpu:
        return {"skipped": "a CPU's memory is not to be filled"}
    [order] = context.orders(context.scale.large, sources=2)
    expected = _make_one(context, order)
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(context.machine.device)
    held = torch.empty(free - LEFT_BYTES, dtype=torch.uint8, device=context.machine.device)
    [other] = context.orders(context.scale.large, sources=2)
    try:
        _make_one(context, other)
        raised = "nothing"
    except Exception as error:  # noqa: BLE001
        # Its class is the finding.
        raised = type(error).__name__
    finally:
        del held
        torch.cuda.empty_cache()
    return {"raised": raised, "afterwards": describe_difference(expected, _make_one(context, order))}


def describe_difference(one: Picture, other: Picture) -> dict[str, float]:
    """Return the greatest, the 99.9th percentile and the mean difference of two pictures' bytes."""
    apart = np.abs(one.astype(int) - other.astype(int))
    return {
        "most": float(apart.max()),
        "99.9 %": float(np.quantile(apart, 0.999)),
        "mean": round(float(apart.mean()), 4),
    }


def _make_one(context: Context, order: ImageOrder) -> Picture:
    return context.ours.make([order])[0]


def _read_held_gigabytes(context: Context) -> float:
    return (
        round(torch.cuda.memory_allocated(context.machine.device) / 1e9, 2) if context.machine.is_gpu else 0
    )
