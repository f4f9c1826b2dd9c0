"""Soft pictures, made from seeds, as the demo model learns and makes them."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from bench.subprocesses import ROOT

SCENES: Final = 4
PROMPTS: Final = (
    "A serene mountain landscape at golden hour",
    "A futuristic city with flying cars at sunset",
    "A cute robot in a garden",
    "A sunset over the ocean",
)

Pixels = NDArray[np.uint8]


def paint_scenes(side: int) -> list[Pixels]:
    """Return the painter's pictures, which are without grain."""
    # Imported here, because torch takes seconds.
    from demo_model.painter import paint  # noqa: PLC0415
    from demo_model.painter.scene import draw_scenes  # noqa: PLC0415

    painted = paint(draw_scenes(range(SCENES)), width=side, height=side).mul(255).round()
    return [picture.permute(1, 2, 0).byte().numpy() for picture in painted]


def generate(side: int) -> list[Pixels]:
    """Return pictures of the demo model, with the faint grain that its decoder leaves."""
    from demo_model.inference import InferencePipeline  # noqa: PLC0415

    pipeline = InferencePipeline(ROOT / "demo_model" / "weights", "cpu")
    return [np.array(picture) for picture in pipeline.generate(PROMPTS, size=(side, side))]
