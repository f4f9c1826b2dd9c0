"""Where the time of a picture goes: its stages, the kernels behind them, and what other ways would take."""

import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu.contenders import select_attention
from bench.gpu.context import Context
from bench.gpu.jobs import sealed_png
from bench.gpu.models import STEPS
from workers.pipelines.flux2.transformer import FlowSampler, Layout
from workers.pipelines.runtime import attention
from workers.pipelines.runtime.device import Device

ROUNDS = 5
KERNELS_SHOWN = 12

Stage = Callable[[], object]


def stages(scene: Context, side: int) -> dict[str, Any]:
    """Milliseconds of each stage of one create, from idle to idle, beside what it takes at least."""
    engine, machine = scene.ours.engine, scene.machine
    rounds: dict[str, list[float]] = {"text": [], "denoise": [], "decode": [], "tail": []}
    for _ in range(ROUNDS + 1):
        orders = scene.orders(side)
        results: dict[str, Any] = {}
        steps: dict[str, Callable[[], Any]] = {
            "text": lambda orders=orders: engine.prepare(orders),  # type: ignore[misc]
            "denoise": lambda results=results: scene.ours.denoise(results["text"]),  # type: ignore[misc]
            "decode": lambda results=results: engine.decode(results["denoise"]),  # type: ignore[misc]
            "tail": lambda results=results: sealed_png(results["decode"][0]),  # type: ignore[misc]
        }
        for name, step in steps.items():
            rounds[name].append(1000 * machine.seconds(partial(_keep, results, name, step)))
    return {
        name: {
            "milliseconds": round(statistics.median(times[1:]), 3),
            "at least": round(1000 * scene.operations[side].get(name, 0.0) / scene.flop_rate, 3),
        }
        for name, times in rounds.items()
    }


def kernels(scene: Context, side: int) -> dict[str, Any]:
    """The kernels of each stage that take longest: milliseconds, how many, name."""
    engine = scene.ours.engine
    results: dict[str, Any] = {}
    text = _kernels(scene, partial(_keep, results, "text", lambda: engine.prepare(scene.orders(side))))
    denoise = _kernels(scene, partial(_keep, results, "denoise", lambda: scene.ours.denoise(results["text"])))
    decode = _kernels(scene, lambda: engine.decode(results["denoise"]))
    return {"text": text, "denoise": denoise, "decode": decode}


def launches(scene: Context) -> dict[str, Any]:
    """Milliseconds in which the host gives the device the steps of an edit, beside those in which it does them: as long
    as the host is ahead, graphs of edits would gain nothing.
    """
    seen = {}
    for side in (scene.scale.little, scene.scale.large):
        prepared = scene.ours.engine.prepare(scene.orders(side, sources=1))
        denoise = partial(scene.ours.denoise, prepared)
        seen[f"edit of {side}²"] = {
            "host": 1000 * statistics.median(scene.machine.host_seconds(denoise) for _ in range(ROUNDS)),
            "device": _median(scene, denoise),
        }
    return seen


def other_ways(scene: Context) -> dict[str, Any]:
    """Milliseconds of a denoising and a decoding by what the engine could have chosen instead, or why none."""
    large, machine = scene.scale.large, scene.machine
    ways: dict[str, Callable[[], float]] = {}
    for kind in attention.CANDIDATES if machine.is_gpu else (attention.NATIVE,):
        ways[f"denoise, eager, {kind}"] = partial(_by_attention, scene, kind)
    ways["denoise, compiled for its shape"] = lambda: _median(
        scene, _denoising(scene, scene.tuned.pipeline, large)
    )
    ways["decode, eager"] = lambda: _decoding(scene, scene.stock.pipeline)
    ways["decode, compiled"] = lambda: _decoding(scene, scene.tuned.pipeline)
    with torch.inference_mode():
        return {name: _seen(way) for name, way in ways.items()}


def _seen(way: Callable[[], float]) -> float | str:
    try:
        return way()
    except Exception as problem:  # noqa: BLE001
        # What does not work on this device is worth knowing too, and the others still are.
        return f"{type(problem).__name__}: {problem}"


def _by_attention(scene: Context, kind: str) -> float:
    select_attention(scene.stock.pipeline, kind)
    return _median(scene, _denoising(scene, scene.stock.pipeline, scene.scale.large))


def _decoding(scene: Context, pipeline: Any) -> float:
    return _median(scene, partial(pipeline.vae.decode, _latents(scene, pipeline), return_dict=False))


def _keep(results: dict[str, Any], name: str, step: Callable[[], Any]) -> None:
    results[name] = step()


def _median(scene: Context, work: Stage) -> float:
    for _ in range(2):
        work()
    return 1000 * statistics.median(scene.machine.device_seconds(work) for _ in range(ROUNDS))


def _denoising(scene: Context, pipeline: Any, side: int) -> Stage:
    """The steps of one create by this pipeline's blocks, on random numbers: zeros would take less time."""
    sampler = FlowSampler(
        pipeline=pipeline,
        device=Device(scene.machine.device),
        steps=STEPS,
        text_length=scene.scale.length,
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


def _latents(scene: Context, pipeline: Any) -> torch.Tensor:
    side = scene.scale.large // pipeline.vae_scale_factor
    shape = (1, pipeline.vae.config.latent_channels, side, side)
    return torch.randn(shape, dtype=scene.machine.dtype, device=scene.machine.device)


def _kernels(scene: Context, work: Stage) -> list[Any]:
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if scene.machine.is_gpu else [])]
    scene.machine.wait()
    with profile(activities=activities) as recorded:
        work()
        scene.machine.wait()
    rows = [
        (round(milliseconds, 3), event.count, event.key[:110])
        for event in recorded.key_averages()
        if (milliseconds := _own_milliseconds(event, on_gpu=scene.machine.is_gpu)) is not None
    ]
    total = sum(milliseconds for milliseconds, _, _ in rows)
    return [
        ("all", round(total, 3), sum(1 for row in rows if row[0])),
        *sorted(rows, reverse=True)[:KERNELS_SHOWN],
    ]


def _own_milliseconds(event: Any, *, on_gpu: bool) -> float | None:
    """A kernel's own; None for what only stands for kernels that are listed themselves."""
    if not on_gpu:
        return float(event.self_cpu_time_total) / 1000
    if event.device_type.name != "CUDA" or getattr(event, "is_user_annotation", False):
        return None
    return float(event.self_device_time_total) / 1000
