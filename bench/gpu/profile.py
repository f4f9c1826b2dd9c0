"""The time of a picture by stage and by kernel, and the time of alternatives."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu.checks import describe_difference
from bench.gpu.contenders import Ours, select_attention, select_backend
from bench.gpu.context import Context
from bench.gpu.jobs import seal_png
from bench.gpu.models import STEPS
from bench.gpu.primitives import attempt
from workers.pipelines.flux2.transformer import FlowSampler, Layout
from workers.pipelines.runtime import attention
from workers.pipelines.runtime.device import SIDE_PRIORITY, Device

ROUNDS: Final = 5
KERNELS_SHOWN: Final = 12

Stage = Callable[[], object]


def measure_stages(context: Context, side: int) -> dict[str, Any]:
    """Return the milliseconds of each stage of one create, from idle to idle, beside its least time."""
    engine, machine = context.ours.engine, context.machine
    rounds: dict[str, list[float]] = {"text": [], "denoise": [], "decode": [], "tail": []}
    for _ in range(ROUNDS + 1):
        orders = context.orders(side)
        results: dict[str, Any] = {}
        steps: dict[str, Callable[[], Any]] = {
            "text": lambda orders=orders: engine.prepare(orders),  # type: ignore[misc]
            "denoise": lambda results=results: context.ours.denoise(results["text"]),  # type: ignore[misc]
            "decode": lambda results=results: engine.decode(results["denoise"]),  # type: ignore[misc]
            "tail": lambda results=results: seal_png(results["decode"][0]),  # type: ignore[misc]
        }
        for name, step in steps.items():
            rounds[name].append(1000 * machine.measure_seconds(partial(_keep, results, name, step)))
    return {
        name: {
            "milliseconds": round(statistics.median(times[1:]), 3),
            "at least": round(1000 * context.operations[side].get(name, 0.0) / context.flop_rate, 3),
        }
        for name, times in rounds.items()
    }


def list_kernels(context: Context, side: int) -> dict[str, Any]:
    """Return the slowest kernels of each stage: milliseconds, count, name."""
    engine = context.ours.engine
    results: dict[str, Any] = {}
    text = _list_kernels(
        context, partial(_keep, results, "text", lambda: engine.prepare(context.orders(side)))
    )
    denoise = _list_kernels(
        context, partial(_keep, results, "denoise", lambda: context.ours.denoise(results["text"]))
    )
    decode = _list_kernels(context, lambda: engine.decode(results["denoise"]))
    return {"text": text, "denoise": denoise, "decode": decode}


def measure_launches(context: Context) -> dict[str, Any]:
    """Return the milliseconds in which the host launches the steps of an edit, and in which they run.

    As long as the host is ahead, graphs of edits would gain nothing.
    """
    measured = {}
    for side in (context.scale.little, context.scale.large):
        prepared = context.ours.engine.prepare(context.orders(side, sources=1))
        denoise = partial(context.ours.denoise, prepared)
        measured[f"edit of {side}²"] = {
            "host": 1000
            * statistics.median(context.machine.measure_host_seconds(denoise) for _ in range(ROUNDS)),
            "device": _measure_median(context, denoise),
        }
    return measured


def measure_alternatives(context: Context) -> dict[str, Any]:
    """Return the milliseconds of a denoising and a decoding by alternatives, or the error of each."""
    large, machine = context.scale.large, context.machine
    ways: dict[str, Callable[[], float]] = {}
    for kind in attention.CANDIDATES if machine.is_gpu else (attention.NATIVE,):
        ways[f"denoise, eager, {kind}"] = partial(_measure_attention, context, kind)
    ways["denoise, compiled for its shape"] = lambda: _measure_median(
        context, _build_denoising(context, context.tuned.pipeline, large)
    )
    ways["decode, eager"] = lambda: _measure_decoding(context, context.stock.pipeline)
    ways["decode, compiled"] = lambda: _measure_decoding(context, context.tuned.pipeline)
    with torch.inference_mode():
        return {name: attempt(way) for name, way in ways.items()}


def measure_variant(context: Context, **entry: Any) -> dict[str, Any]:
    """Return the milliseconds of an engine with other options, and the difference of its pictures to ours."""
    large = context.scale.large
    variant = Ours(context.scale, context.machine, sides=(large,), batch_limit=1, **entry)
    variant.compile(select_backend(context.machine))
    prepared = variant.engine.prepare(context.orders(large))
    denoised = variant.denoise(prepared)
    [order] = context.orders(large)
    return {
        "denoise": _measure_median(context, partial(variant.denoise, prepared)),
        "denoise, ours": _measure_median(context, partial(context.ours.denoise, prepared)),
        "decode": _measure_median(context, partial(variant.engine.decode, denoised)),
        "decode, ours": _measure_median(context, partial(context.ours.engine.decode, denoised)),
        "difference": describe_difference(variant.make([order])[0], context.ours.make([order])[0]),
    }


def measure_priorities(context: Context) -> dict[str, Any]:
    """Return the milliseconds of a decoding while another stream keeps the device busy, by stream priority."""
    large, engine = context.scale.large, context.ours.engine
    if not context.machine.is_gpu:
        return {"skipped": "a CPU has no streams"}
    found = {}
    prepared = engine.prepare(context.orders(large))
    pipeline = context.stock.pipeline
    latents = _draw_latents(context, pipeline)
    for priority in (0, SIDE_PRIORITY):
        stream = torch.cuda.Stream(context.machine.device, priority=priority)
        times = []
        for _ in range(ROUNDS):
            context.machine.wait()
            for _ in range(2):
                context.ours.denoise(prepared)
            with torch.cuda.stream(stream), torch.inference_mode():
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                pipeline.vae.decode(latents, return_dict=False)
                end.record()
            end.synchronize()
            times.append(float(begin.elapsed_time(end)))
        found[f"priority {priority}"] = statistics.median(times)
    return found


def _measure_attention(context: Context, kind: str) -> float:
    select_attention(context.stock.pipeline, kind)
    return _measure_median(context, _build_denoising(context, context.stock.pipeline, context.scale.large))


def _measure_decoding(context: Context, pipeline: Any) -> float:
    return _measure_median(
        context, partial(pipeline.vae.decode, _draw_latents(context, pipeline), return_dict=False)
    )


def _keep(results: dict[str, Any], name: str, step: Callable[[], Any]) -> None:
    results[name] = step()


def _measure_median(context: Context, work: Stage) -> float:
    for _ in range(2):
        work()
    return 1000 * statistics.median(context.machine.measure_device_seconds(work) for _ in range(ROUNDS))


def _build_denoising(context: Context, pipeline: Any, side: int) -> Stage:
    """Return the steps of one create by this pipeline's blocks, on random numbers; zeros would be faster."""
    sampler = FlowSampler(
        pipeline=pipeline,
        device=Device(context.machine.device),
        steps=STEPS,
        text_length=context.scale.length,
    )
    tokens = side // (2 * pipeline.vae_scale_factor)
    layout = Layout((tokens, tokens))
    first, text, _, rotary, _ = sampler.make_blank_inputs(layout, 1)
    first, text = torch.randn_like(first), torch.randn_like(text)

    def steps() -> None:
        latents = first
        for step in sampler.compute_steps(layout.picture):
            latents = sampler.step(latents, text, None, layout=layout, rotary=rotary, step=step)

    return steps


def _draw_latents(context: Context, pipeline: Any) -> torch.Tensor:
    side = context.scale.large // pipeline.vae_scale_factor
    shape = (1, pipeline.vae.config.latent_channels, side, side)
    return torch.randn(shape, dtype=context.machine.dtype, device=context.machine.device)


def _list_kernels(context: Context, work: Stage) -> list[Any]:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if context.machine.is_gpu else [])]
    context.machine.wait()
    with profile(activities=activities) as recorded:
        work()
        context.machine.wait()
    rows = [
        (round(milliseconds, 3), event.count, event.key[:110])
        for event in recorded.key_averages()
        if (milliseconds := _read_own_milliseconds(event, on_gpu=context.machine.is_gpu)) is not None
    ]
    total = sum(milliseconds for milliseconds, _, _ in rows)
    return [
        ("all", round(total, 3), sum(1 for row in rows if row[0])),
        *sorted(rows, reverse=True)[:KERNELS_SHOWN],
    ]


def _read_own_milliseconds(event: Any, *, on_gpu: bool) -> float | None:
    """Return a kernel's own time, or None for an entry whose kernels are listed themselves."""
    if not on_gpu:
        return float(event.self_cpu_time_total) / 1000
    if event.device_type.name != "CUDA" or getattr(event, "is_user_annotation", False):
        return None
    return float(event.self_device_time_total) / 1000
