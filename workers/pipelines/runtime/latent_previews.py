"""Previews from latents, without a VAE: a linear map from each token's channels to a square of pixels.

The map is fitted by least squares when a model is loaded. It imitates the VAE's decoder on drawn pictures. A preview is
a quarter as wide as its picture. Shapes: B orders, S tokens, C channels, P values of a square, H by W pixels.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from workers.engine import preview_steps
from workers.engine.interface import ImageOrder, Picture
from workers.pipelines.runtime.device import Device, HandedOver

# Rows and columns of tokens.
Grid = tuple[int, int]
# Takes a picture (1, 3, H, W) from -1 to 1, and returns its latents (1, S, C) and the decoded bytes (H, W, 3).
Reconstruct = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# The pixels of a picture for each pixel of its preview, by each side.
SHRINK: Final = 4
# The drawn pictures have at least these pixels and tokens a side. Together they have at most this many pixels, because
# a VAE takes a CPU seconds for a megapixel, and at most this many tokens, which suffice for the 128 channels of FLUX.2.
MIN_FITTED_SIDE_PIXELS: Final = 64
MIN_FITTED_SIDE_TOKENS: Final = 4
MAX_FITTED_PIXELS: Final = 256 * 1024
MAX_FITTED_TOKENS: Final = 1024
# The weight of small coefficients against exactness, for one token. Without it, rare values of a channel overshoot.
RIDGE: Final = 0.1
# The scales of the drawn pictures' shapes, in cells of a side.
SCALES: Final = (2, 4, 8, 16)


class Clean(NamedTuple):
    """The latents (S, C) that a step of one order was heading for, without noise."""

    tokens_SC: torch.Tensor


class _Map(NamedTuple):
    """The linear map from a token's channels to the values of its square, from 0 to 255."""

    weights_CP: torch.Tensor
    bias_P: torch.Tensor


class LatentPreviews:
    """The previews of one model on one device."""

    def __init__(self, *, device: Device, patch_pixels: int) -> None:
        """Take the width and height of a token as `patch_pixels`. There are no previews before `fit`."""
        self._device = device
        self._patch_pixels = patch_pixels
        self._side = max(1, patch_pixels // SHRINK)
        self._map: _Map | None = None

    @property
    def is_fitted(self) -> bool:
        """Return True after `fit`."""
        return self._map is not None

    def fit(self, reconstruct: Reconstruct) -> None:
        """Fit the map to the decoder, on pictures that are encoded and decoded again."""
        tokens, squares = [], []
        side_tokens = max(MIN_FITTED_SIDE_TOKENS, MIN_FITTED_SIDE_PIXELS // self._patch_pixels)
        side = self._patch_pixels * side_tokens
        count = max(1, min(MAX_FITTED_TOKENS // side_tokens**2, MAX_FITTED_PIXELS // side**2))
        for pixels_1CHW in _draw_pictures(side, side, count=count):
            latents_1SC, decoded_HWC = reconstruct(pixels_1CHW)
            tokens.append(latents_1SC[0].float().cpu())
            squares.append(self._cut(decoded_HWC.float().cpu()))
        tokens_NC, squares_NP = torch.cat(tokens).double(), torch.cat(squares).double()
        mean_C, mean_P = tokens_NC.mean(0), squares_NP.mean(0)
        centred_NC = tokens_NC - mean_C
        products_CC = centred_NC.T @ centred_NC
        products_CC += RIDGE * len(tokens_NC) * torch.eye(len(mean_C), dtype=products_CC.dtype)
        weights_CP = torch.linalg.solve(products_CC, centred_NC.T @ (squares_NP - mean_P))
        bias_P = mean_P - mean_C @ weights_CP
        self._map = _Map(
            *(self._device.to_device(values.float().contiguous()) for values in (weights_CP, bias_P))
        )

    def offer(
        self,
        orders: Sequence[ImageOrder],
        *,
        done: int,
        step_count: int,
        find_clean: Callable[[], torch.Tensor],
        grid: Grid,
    ) -> None:
        """Give a preview to each order that is due for one after this step. The host waits for nothing.

        `find_clean` returns what the step was heading for, (B, S, C). It is called only if an order is due.
        """
        due = [
            (index, order)
            for index, order in enumerate(orders)
            if preview_steps.is_due(order, done=done, step_count=step_count)
        ]
        if self._map is None or not due:
            return
        clean_BSC = find_clean()
        for index, order in due:
            render = partial(self._render, self._device.hand_over(Clean(clean_BSC[index])), grid)
            preview_steps.offer(order, done=done, step_count=step_count, render=render)

    def _render(self, clean: HandedOver[Clean], grid: Grid) -> Picture:
        """Return the preview of these latents. It runs in the caller's own stream."""
        assert self._map is not None
        with self._device.enter_side_stage():
            [clean_SC] = self._device.take_over(clean)
            squares_SP = clean_SC.float() @ self._map.weights_CP + self._map.bias_P
            bytes_SP = squares_SP.nan_to_num().clamp(0, 255).round().to(torch.uint8)
            [picture] = self._device.to_host(self._join(bytes_SP, grid))
        return np.asarray(picture.numpy())

    def _cut(self, decoded_HWC: torch.Tensor) -> torch.Tensor:
        """Return the shrunk picture's squares, (S, P)."""
        small_CHW = functional.avg_pool2d(decoded_HWC.permute(2, 0, 1), self._patch_pixels // self._side)
        squares_1PS = functional.unfold(small_CHW[None], self._side, stride=self._side)
        return squares_1PS[0].T

    def _join(self, squares_SP: torch.Tensor, grid: Grid) -> torch.Tensor:
        """Return the picture (H, W, 3) of its squares."""
        rows, columns = grid
        parts = squares_SP.reshape(rows, columns, 3, self._side, self._side)
        return parts.permute(0, 3, 1, 4, 2).reshape(rows * self._side, columns * self._side, 3).contiguous()


def _draw_pictures(height: int, width: int, *, count: int) -> Iterator[torch.Tensor]:
    """Yield pictures (1, 3, H, W) from -1 to 1, always the same ones: colours of several scales, soft and hard."""
    draw = torch.Generator().manual_seed(0)
    for index in range(count):
        colour = 2 * torch.rand((1, 3, 1, 1), generator=draw) - 1
        picture = colour.expand(1, 3, height, width)
        for scale in SCALES:
            cells = torch.randn((1, 3, scale, scale), generator=draw) * 0.6 / scale**0.5
            is_soft = index % 2 == 0
            mode = "bicubic" if is_soft else "nearest"
            picture = picture + functional.interpolate(
                cells, (height, width), mode=mode, align_corners=False if is_soft else None
            )
        yield picture.clamp(-1, 1)
