"""The tokens of a picture that a mask keeps. A token that is to be painted in part is painted as a whole."""

from typing import Any

import numpy as np
from PIL import Image

from workers.imaging.masks import KEPT
from workers.pipelines.runtime.latent_previews import Grid


def find_kept(mask: Image.Image, grid: Grid, *, patch_pixels: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return for each token, row by row, whether the mask keeps all its pixels. Those beyond the mask count as kept."""
    rows, columns = grid
    kept = np.full((rows * patch_pixels, columns * patch_pixels), KEPT, dtype=np.uint8)
    kept[: mask.height, : mask.width] = np.asarray(mask)
    are_kept: np.ndarray[Any, np.dtype[np.bool_]] = (
        kept.reshape(rows, patch_pixels, columns, patch_pixels).min(axis=(1, 3)) == KEPT
    )
    return are_kept.reshape(-1)
