"""The encoder of source images for FLUX.2-klein's transformer, and its cache.

A source keeps its own shape, as in the pipeline, because positions tell its tokens from the picture's. For a model that
learned sources of the picture's shape alone, it is brought to that shape.

Shapes: B orders, R tokens of all sources of an order, C channels.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from PIL import Image

from workers.engine.interface import ImageOrder
from workers.imaging import letterbox
from workers.pipelines.flux2.transformer import Grid
from workers.pipelines.runtime.compilation import Compiler
from workers.pipelines.runtime.device import Device

# The shape in which the transformer gets a source: its own, or that of the ordered picture.
OWN: Final = "own"
ORDERED: Final = "ordered"
# The pipeline refuses a smaller source.
MIN_PIXELS: Final = 64
# Larger sources of their own shape are scaled down, as the pipeline does. Their tokens would cost more than the
# picture's.
MAX_AREA_PIXELS: Final = 1024 * 1024
# Two sizes show the compiler that both sides vary. They are not equal, or it would take the sides to be the same.
TRIED_SIZES: Final = ((1024, 768), (512, 800))
# The latents of a source are 1 MB.
MAX_CACHED_SOURCES: Final = 64


class ReferenceImageEncoder:
    """An encoder that encodes a source once, however often it comes."""

    def __init__(
        self, *, pipeline: Flux2KleinPipeline, device: Device, patch_pixels: int, shape: str = OWN
    ) -> None:
        """Take the width and height of a token as `patch_pixels`, and the shape of sources, OWN or ORDERED."""
        self._pipeline = pipeline
        self._device = device
        self._patch_pixels = patch_pixels
        self._shape = shape
        self._cache: LRUCache[bytes, torch.Tensor] = LRUCache(MAX_CACHED_SOURCES)

    def compute_grids(self, order: ImageOrder) -> tuple[Grid, ...]:
        """Return the rows and columns of tokens that each source of the order becomes."""
        if self._shape == ORDERED:
            return (self._cover((order.width, order.height)),) * len(order.sources)
        return tuple(self._make_grid(self._scale_size(source.size)) for source in order.sources)

    def encode(self, orders: Sequence[ImageOrder]) -> torch.Tensor | None:
        """Return the latents (B, R, C) of each order's sources, or None for creates.

        The sources of all orders must become equal grids.
        """
        if not orders[0].sources:
            return None
        return torch.cat([torch.cat(self._encode_all(order), dim=1) for order in orders])

    def encode_fitted(self, source: Image.Image, size: tuple[int, int]) -> torch.Tensor:
        """Return the latents (1, R, C) of the source, brought to a picture of this size, width first."""
        return self._encode(source, self._cover(size), fitted_size=size)

    def encode_pixels(self, pixels_1CHW: torch.Tensor) -> torch.Tensor:
        """Return the latents (1, R, C) of pixels from -1 to 1, whose sides are multiples of a token's."""
        on_device_1CHW = self._device.to_device(pixels_1CHW.to(self._pipeline.vae.dtype)).contiguous(
            memory_format=torch.channels_last
        )
        latents_1CHW = self._pipeline._encode_vae_image(image=on_device_1CHW, generator=None)
        latents_1SC: torch.Tensor = self._pipeline._pack_latents(latents_1CHW)
        return latents_1SC

    def compile(self, compiler: Compiler) -> None:
        """Compile the VAE's encoder for sources of any size."""
        compiler.compile([self._pipeline.vae.encoder], dynamic=True)
        for width, height in TRIED_SIZES:
            self.encode_fitted(Image.new("RGB", (width, height)), (width, height))
        self._cache.clear()

    def _encode_all(self, order: ImageOrder) -> list[torch.Tensor]:
        pairs = zip(order.sources, self.compute_grids(order), strict=True)
        size = (order.width, order.height) if self._shape == ORDERED else None
        return [self._encode(source, grid, fitted_size=size) for source, grid in pairs]

    def _encode(
        self, source: Image.Image, grid: Grid, *, fitted_size: tuple[int, int] | None
    ) -> torch.Tensor:
        names = repr((source.size, grid, fitted_size)).encode()
        digest = hashlib.sha256(names + source.tobytes()).digest()
        if digest not in self._cache:
            height, width = (self._patch_pixels * count for count in grid)
            if fitted_size is None:
                picture = self._fit(source)
            else:
                picture = letterbox.extend(letterbox.fit(source, fitted_size), (width, height))
            pixels_1CHW = self._pipeline.image_processor.preprocess(
                picture, height=height, width=width, resize_mode="crop"
            )
            with self._device.measure_work():
                self._cache[digest] = self.encode_pixels(pixels_1CHW)
        return self._cache[digest]

    def _cover(self, size: tuple[int, int]) -> Grid:
        width, height = size
        return -(-height // self._patch_pixels), -(-width // self._patch_pixels)

    def _make_grid(self, size: tuple[int, int]) -> Grid:
        width, height = size
        return height // self._patch_pixels, width // self._patch_pixels

    def _scale_size(self, size: tuple[int, int]) -> tuple[int, int]:
        width, height = size
        min_pixels = max(MIN_PIXELS, self._patch_pixels)
        if min(size) < min_pixels:
            width, height = (-(-side * min_pixels // min(size)) for side in size)
        if width * height > MAX_AREA_PIXELS:
            scale = (MAX_AREA_PIXELS / (width * height)) ** 0.5
            width, height = int(width * scale), int(height * scale)
        return width, height

    def _fit(self, source: Image.Image) -> Image.Image:
        size = self._scale_size(source.size)
        return source if size == source.size else source.resize(size, Image.Resampling.LANCZOS)
