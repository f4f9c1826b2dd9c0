"""The engines to compare: diffusers' pipeline as it is, the same tuned as its manual says, and this project's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final

import numpy as np
import torch
from PIL import Image

from bench.gpu import models
from bench.gpu.machine import Machine
from bench.gpu.models import Scale
from workers.engine.interface import ImageOrder, Picture
from workers.pipelines.flux2.engine import Flux2Klein
from workers.pipelines.runtime import attention

# A machine without a GPU may lack a compiler of C++ too.
CPU_BACKEND: Final = "eager"


@dataclass
class Orders:
    """Orders that no cache knows, because each has a prompt and sources of its own."""

    scale: Scale
    numbers: "count[int]" = field(default_factory=count)

    def __call__(self, side: int, *, how_many: int = 1, sources: int = 0) -> list[ImageOrder]:
        """Return squares of this side, from this many sources each."""
        return [self.make_one(side, side, sources=[(side, side)] * sources) for _ in range(how_many)]

    def make_one(self, width: int, height: int, *, sources: Sequence[tuple[int, int]] = ()) -> ImageOrder:
        """Return one order, with sources of these sizes."""
        number = next(self.numbers)
        return ImageOrder(
            prompt=f"A serene mountain landscape at golden hour, number {number}",
            width=width,
            height=height,
            seed=number,
            sources=tuple(_make_source(number, size) for size in sources),
        )


def select_backend(machine: Machine) -> str:
    """Return torch.compile's backend for the machine."""
    return "inductor" if machine.is_gpu else CPU_BACKEND


def _make_source(seed: int, size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(seed)
    grain = random.integers(0, 256, (max(1, size[1] // 8), max(1, size[0] // 8), 3), np.uint8)
    return Image.fromarray(grain).resize(size, Image.Resampling.BICUBIC)


class Stock:
    """diffusers' pipeline, called as its page says."""

    def __init__(self, scale: Scale, machine: Machine) -> None:
        self.pipeline = models.build_pipeline(scale, machine)
        self._scale = scale

    def make(self, orders: Sequence[ImageOrder]) -> list[Image.Image]:
        """Make one picture after the other."""
        return [self._make(order) for order in orders]

    def _make(self, order: ImageOrder) -> Image.Image:
        made: Image.Image = self.pipeline(
            prompt=order.prompt,
            image=list(order.sources) or None,
            width=order.width,
            height=order.height,
            num_inference_steps=models.STEPS,
            guidance_scale=1.0,
            generator=torch.Generator().manual_seed(order.seed),
            max_sequence_length=self._scale.length,
            text_encoder_out_layers=self._scale.layers,
        ).images[0]
        return made


class Tuned(Stock):
    """The stock pipeline with compiled blocks, a compiled channels-last VAE, and cuDNN's attention."""

    def __init__(self, scale: Scale, machine: Machine) -> None:
        super().__init__(scale, machine)
        backend = select_backend(machine)
        # Our engine has ended all compiling in this process.
        torch.compiler.set_stance("default")
        if machine.is_gpu:
            select_attention(self.pipeline, "_native_cudnn")
        self.pipeline.transformer.compile_repeated_blocks(fullgraph=True, backend=backend)
        self.pipeline.vae.to(memory_format=torch.channels_last)
        self.pipeline.vae.decode = torch.compile(self.pipeline.vae.decode, fullgraph=True, backend=backend)


class Ours:
    """The engine of this project, as a worker loads it."""

    def __init__(self, scale: Scale, machine: Machine, *, sides: Sequence[int] = (), **entry: Any) -> None:
        """Compile for these sides in pixels, and for both of the scale's by default; `entry` is the model's."""
        self._scale = scale
        self._machine = machine
        self._entry = entry
        self.sizes = [scale.format_size(side) for side in sides or (scale.large, scale.little)]
        self.mode = "eager"
        self.engine = self._load()

    def compile(self, backend: str | None, *, until: float = math.inf) -> None:
        """Compile a new engine as far as there is time, and describe it in `mode`. Raise EngineError."""
        self.engine, self.mode = self._load(), "eager"
        done = self.engine.compile(backend=backend, until=until)
        graphs = "captured as graphs" if self._machine.is_gpu else "no graphs"
        self.mode = f"fused by {backend}, {graphs}: {', '.join(done)}"

    def make(self, orders: Sequence[ImageOrder]) -> list[Picture]:
        """Make one batch."""
        return self.engine.decode(self.denoise(self.engine.prepare(orders)))

    def denoise(self, prepared: Any) -> Any:
        """Run the denoising stage alone."""
        return self.engine.denoise(prepared, on_step=_ignore_step)

    def _load(self) -> Flux2Klein:
        engine = Flux2Klein(
            pipeline=models.build_pipeline(self._scale, self._machine),
            model=models.build_entry(self._scale, compile_sizes=self.sizes, **self._entry),
        )
        engine.choose_precision()
        engine.choose_attention()
        return engine


def select_attention(pipeline: Any, name: str) -> None:
    """Make a pipeline's transformer use this attention, and no other pipeline's."""
    transformer, heads = pipeline.transformer, pipeline.transformer.config
    shape = (1, 64, heads.num_attention_heads, heads.attention_head_dim)
    attention.use(name, transformer, shape, dtype=transformer.dtype)


def _ignore_step(_done: int, _steps: int) -> None:
    pass
