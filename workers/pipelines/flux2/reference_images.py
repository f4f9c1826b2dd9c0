"""The encoder of source images for FLUX.2-klein's transformer, and its cache. It fits images as the pipeline does.

Shapes: B orders, R tokens of all sources of an order, C channels.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

import torch
from cachetools import LRUCache
from diffusers import Flux2KleinPipeline
from PIL import Image

from workers.pipelines.runtime.compilation import Compiler
from workers.pipelines.runtime.device import Device

# The pipeline refuses a smaller source.
MIN_PIXELS: Final = 64
# Larger sources are scaled down, as the pipeline does. Their tokens would cost more than the picture's.
MAX_AREA_PIXELS: Final = 1024 * 1024
# Two sizes show the compiler that both sides vary. They are not equal, or it would take the sides to be the same.
TRIED_SIZES: Final = ((1024, 768), (512, 800))
# The latents of a source are 1 MB.
MAX_CACHED_SOURCES: Final = 64


class ReferenceImageEncoder:
    """An encoder that encodes a source once, however often it comes."""

    def __init__(self, *, pipeline: Flux2KleinPipeline, device: Device, patch_pixels: int) -> None:
        """Take the width and height of a token as `patch_pixels`."""
        self._pipeline = pipeline
        self._device = device
        self._patch_pixels = patch_pixels
        self._cache: LRUCache[bytes, torch.Tensor] = LRUCache(MAX_CACHED_SOURCES)

    def compute_grid(self, source: Image.Image) -> tuple[int, int]:
        """Return the rows and columns of tokens that the source becomes."""
        width, height = self._scale_size(source.size)
        return height // self._patch_pixels, width // self._patch_pixels

    def encode(self, rows: Sequence[Sequence[Image.Image]]) -> torch.Tensor | None:
        """Return the latents (B, R, C) of a row of sources for each order, or None for creates.

        All rows must have sources of the same sizes.
        """
        if not rows[0]:
            return None
        return torch.cat([torch.cat([self._encode(source) for source in row], dim=1) for row in rows])

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
            self.encode([[Image.new("RGB", (width, height))]])
        self._cache.clear()

    def _encode(self, source: Image.Image) -> torch.Tensor:
        digest = hashlib.sha256(repr(source.size).encode() + source.tobytes()).digest()
        if digest not in self._cache:
            height, width = (self._patch_pixels * count for count in self.compute_grid(source))
            pixels_1CHW = self._pipeline.image_processor.preprocess(
                self._fit(source), height=height, width=width, resize_mode="crop"
            )
            with self._device.measure_work():
                self._cache[digest] = self.encode_pixels(pixels_1CHW)
        return self._cache[digest]

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
