"""Painter of flat, soft pictures from scenes.

It paints many scenes at once on any torch device, and the same scenes always give the same pictures.
"""

from collections.abc import Sequence

import torch

from demo_model.painter.places import paint_place
from demo_model.painter.scene import Scene
from demo_model.painter.scene_batch import SceneBatch
from demo_model.painter.sky import paint_sky
from demo_model.painter.subjects import paint_subject
from demo_model.painter.weather import paint_weather


@torch.no_grad()
def paint(
    scenes: Sequence[Scene], *, width: int, height: int, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Paint the scenes. The pictures have the shape (B, 3, height, width) and values from 0 to 1."""
    pixels_BCHW = torch.zeros(len(scenes), 3, height, width, device=device)
    batch = SceneBatch(scenes, pixels_BCHW)
    for paint_part in (paint_sky, paint_place, paint_subject, paint_weather):
        paint_part(batch)
    return batch.canvas.pixels_BCHW.clamp_(0, 1)
