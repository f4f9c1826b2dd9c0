"""FLUX.2's transformer, driven from its parts, so that values common to all pictures of a shape are computed once.

Shapes: B orders, L tokens of text, S of the picture, R of the sources, C channels, D the transformer's width.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu

from workers.pipelines.runtime import attention
from workers.pipelines.runtime.compilation import Caller, Compiler, Work, call
from workers.pipelines.runtime.device import Device

# Rows and columns of tokens.
Grid = tuple[int, int]

# The two tables of a layout with two sources of a megapixel are 13 MB.
MAX_CACHED_LAYOUTS: Final = 32
# The grid of a picture of 1024x1024, where a token is 16 px wide and attention is most of the work.
LARGE_GRID: Final = (64, 64)
# The grid to compile for any number of tokens: its count equals no other number in the transformer.
ODD_GRID: Final = (31, 33)


class Layout(NamedTuple):
    """The token grids of a picture and of its sources."""

    picture: Grid
    sources: tuple[Grid, ...] = ()


class RotaryEmbedding(NamedTuple):
    """The rotations of queries and keys by their tokens' positions: text, picture, sources."""

    cosines: torch.Tensor
    sines: torch.Tensor


class DenoisingStep(NamedTuple):
    """A step along the flow: the blocks' modulations for its time, and its length."""

    time_1D: torch.Tensor
    picture_1M: torch.Tensor
    text_1M: torch.Tensor
    single_1M: torch.Tensor
    stride: torch.Tensor


class FlowSampler:
    """The sampler from noise to a picture's latents."""

    def __init__(
        self,
        *,
        pipeline: Flux2KleinPipeline,
        device: Device,
        steps: int,
        text_length: int,
        compiles_each_size: bool = False,
    ) -> None:
        """Take a pipeline that is on its device already.

        With `compiles_each_size`, each captured step has kernels for its own shape instead of those for any shape.
        """
        self._pipeline = pipeline
        self._transformer = pipeline.transformer
        self._device = device
        self._steps = steps
        self._text_length = text_length
        self._compiles_each_size = compiles_each_size
        self._rotaries: LRUCache[Layout, RotaryEmbedding] = LRUCache(MAX_CACHED_LAYOUTS)
        self._steps_by_token_count: dict[int, list[DenoisingStep]] = {}
        self._steps_ahead_by_token_count: dict[int, list[float]] = {}
        self._noise_by_token_count: dict[int, list[float]] = {}
        self._graphs: dict[tuple[Layout, int], Work] = {}

    @property
    def _blocks(self) -> list[torch.nn.Module]:
        return [*self._transformer.transformer_blocks, *self._transformer.single_transformer_blocks]

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the weights and of the inputs."""
        dtype: torch.dtype = self._transformer.dtype
        return dtype

    @property
    def channels(self) -> int:
        """Return the channels of a picture's token."""
        return int(self._transformer.config.in_channels)

    def embed_text(self, embeddings: torch.Tensor) -> torch.Tensor:
        """Return the text encoder's embeddings as the blocks take them, (B, L, D), equal at every step."""
        text_BLD: torch.Tensor = self._transformer.context_embedder(embeddings.to(self.dtype))
        return text_BLD

    def compute_rotary(self, layout: Layout) -> RotaryEmbedding:
        """Return the tables of a layout, cached for the next batch that has it."""
        if layout not in self._rotaries:
            picture, *sources = (torch.empty(1, 1, *grid) for grid in (layout.picture, *layout.sources))
            tables = [
                self._pipeline._prepare_text_ids(torch.empty(1, self._text_length, 1)),
                self._pipeline._prepare_latent_ids(picture),
            ]
            if sources:
                tables.append(self._pipeline._prepare_image_ids(sources))
            ids = self._device.to_device(torch.cat(tables, dim=1)[0])
            self._rotaries[layout] = RotaryEmbedding(*self._transformer.pos_embed(ids))
        return self._rotaries[layout]

    def compute_steps(self, picture: Grid) -> list[DenoisingStep]:
        """Return the steps for a picture with this token grid, as the pipeline's scheduler takes them."""
        token_count = picture[0] * picture[1]
        if token_count not in self._steps_by_token_count:
            scheduler = self._pipeline.scheduler
            sigmas = np.linspace(1.0, 1 / self._steps, self._steps)
            scheduler.set_timesteps(
                sigmas=None if scheduler.config.get("use_flow_sigmas") else sigmas,
                num_inference_steps=self._steps,
                mu=compute_empirical_mu(image_seq_len=token_count, num_steps=self._steps),
            )
            strides = scheduler.sigmas.diff()
            self._noise_by_token_count[token_count] = scheduler.sigmas[1:].tolist()
            self._steps_ahead_by_token_count[token_count] = (-scheduler.sigmas[1:] / strides).tolist()
            pairs = zip(scheduler.timesteps, strides, strict=True)
            self._steps_by_token_count[token_count] = [
                self._compute_step(timestep, stride) for timestep, stride in pairs
            ]
        return self._steps_by_token_count[token_count]

    def compute_steps_ahead(self, picture: Grid) -> list[float]:
        """Return how far the end of the flow is after each step, in lengths of that step."""
        self.compute_steps(picture)
        return self._steps_ahead_by_token_count[picture[0] * picture[1]]

    def compute_noise_left(self, picture: Grid) -> list[float]:
        """Return the share of noise in the latents after each step, from below 1 to 0."""
        self.compute_steps(picture)
        return self._noise_by_token_count[picture[0] * picture[1]]

    def step(
        self,
        latents_BSC: torch.Tensor,
        text_BLD: torch.Tensor,
        sources_BRC: torch.Tensor | None,
        *,
        layout: Layout,
        rotary: RotaryEmbedding,
        step: DenoisingStep,
    ) -> torch.Tensor:
        """Return the latents one step further along the flow. The host does not wait for the device."""
        graph = self._graphs.get((layout, latents_BSC.shape[0]))
        if graph is not None:
            return graph(latents_BSC, text_BLD, *step)[0]
        return self._step(latents_BSC, text_BLD, sources_BRC, rotary, step)

    def select_attention(self, wanted: str, *, model_name: str) -> None:
        """Select this attention backend, or the fastest one here. Raise EngineError."""
        config = self._transformer.config
        tokens = self._text_length + LARGE_GRID[0] * LARGE_GRID[1]
        shape = (1, tokens, config.num_attention_heads, config.attention_head_dim)
        attention.select_backend(wanted, [self._transformer], shape, model_name=model_name)

    def compile(self, compiler: Compiler, *, batch_limit: int) -> None:
        """Compile the blocks for any number of tokens and up to this many orders."""
        compiler.compile(self._blocks, dynamic=True)
        # torch compiles one order and several separately, and takes two equal numbers for one and the same.
        for order_count in (1, 3) if batch_limit > 1 else (1,):
            self._step(*self.make_blank_inputs(Layout(ODD_GRID), order_count))

    def capture_graph(self, compiler: Compiler, *, picture: Grid, order_count: int) -> None:
        """Capture a step of this many creates of this size as one graph.

        Edits are not captured, because they would gain nothing. On an H200 the host launches the four steps of an edit
        of 512x512 from one source of that size in 52 ms, and they run for 124 ms; with a megapixel each it is 154 of
        534 ms. So the host is ahead from the first step on. Each pair of sizes would also hold memory of its own.
        """
        layout = Layout(picture)
        latents_BSC, text_BLD, _, rotary, step = self.make_blank_inputs(layout, order_count)
        call_block = compiler.compile_forwards(self._blocks) if self._compiles_each_size else call

        def work(latents: torch.Tensor, text: torch.Tensor, *step: torch.Tensor) -> tuple[torch.Tensor]:
            return (self._step(latents, text, None, rotary, DenoisingStep(*step), call_block),)

        self._graphs[layout, order_count] = compiler.capture_graph(work, latents_BSC, text_BLD, *step)

    def make_blank_inputs(self, layout: Layout, order_count: int) -> tuple[Any, ...]:
        """Return latents, text, no sources, rotary and first step of blank creates, to try steps with."""
        latents_BSC = self._make_zeros(order_count, layout.picture[0] * layout.picture[1], self.channels)
        text_BLD = self._make_zeros(order_count, self._text_length, self._transformer.inner_dim)
        return latents_BSC, text_BLD, None, self.compute_rotary(layout), self.compute_steps(layout.picture)[0]

    def _step(
        self,
        latents_BSC: torch.Tensor,
        text_BLD: torch.Tensor,
        sources_BRC: torch.Tensor | None,
        rotary: RotaryEmbedding,
        step: DenoisingStep,
        call_block: Caller = call,
    ) -> torch.Tensor:
        transformer, token_count = self._transformer, latents_BSC.shape[1]
        tokens_BTC = latents_BSC if sources_BRC is None else torch.cat([latents_BSC, sources_BRC], dim=1)
        image_BTD = transformer.x_embedder(tokens_BTC.to(self.dtype))
        for block in transformer.transformer_blocks:
            text_BLD, image_BTD = call_block(
                block,
                hidden_states=image_BTD,
                encoder_hidden_states=text_BLD,
                temb_mod_img=step.picture_1M,
                temb_mod_txt=step.text_1M,
                image_rotary_emb=tuple(rotary),
            )
        both_BND = torch.cat([text_BLD, image_BTD], dim=1)
        for block in transformer.single_transformer_blocks:
            both_BND = call_block(
                block,
                hidden_states=both_BND,
                encoder_hidden_states=None,
                temb_mod=step.single_1M,
                image_rotary_emb=tuple(rotary),
            )
        picture_BSD = both_BND[:, self._text_length : self._text_length + token_count]
        flow_BSC = transformer.proj_out(transformer.norm_out(picture_BSD, step.time_1D))
        stepped_BSC: torch.Tensor = latents_BSC.float() + step.stride * flow_BSC.float()
        return stepped_BSC.to(flow_BSC.dtype)

    def _compute_step(self, timestep: torch.Tensor, stride: torch.Tensor) -> DenoisingStep:
        # The pipeline passes a thousandth in its own precision, and the transformer multiplies it again.
        thousandth_1 = self._device.to_device(timestep.reshape(1)).to(self.dtype) / 1000
        time_1D = self._transformer.time_guidance_embed(thousandth_1 * 1000, None)
        return DenoisingStep(
            time_1D=time_1D,
            picture_1M=self._transformer.double_stream_modulation_img(time_1D),
            text_1M=self._transformer.double_stream_modulation_txt(time_1D),
            single_1M=self._transformer.single_stream_modulation(time_1D),
            stride=self._device.to_device(stride.reshape(1).float()),
        )

    def _make_zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(shape, dtype=self.dtype, device=self._device.target)
