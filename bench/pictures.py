"""Five kinds of picture, made from seeds, that benchmarks encode. Knows no benchmark."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

SIDE_PIXELS: Final = 1024

Plane = NDArray[np.float32]


def flat(side: int = SIDE_PIXELS) -> Image.Image:
    """Draw forty plain shapes on paper, without grain and without soft edges."""
    random = np.random.default_rng(1)
    picture = Image.new("RGB", (side, side), "#e8e0d0")
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, radius = (float(value) for value in random.uniform((0, 0, 0.02), (1, 1, 0.25)) * side)
        red, green, blue = (int(value) for value in random.integers(0, 256, 3))
        corners = np.array((x, y)) + random.uniform(-radius, radius, (5, 2))
        shape = random.integers(3)
        if shape == 0:
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(red, green, blue))
        elif shape == 1:
            draw.rectangle((x - radius, y - radius / 2, x + radius, y + radius / 2), fill=(red, green, blue))
        else:
            draw.polygon([(float(left), float(top)) for left, top in corners], fill=(red, green, blue))
    return picture


def typical(side: int = SIDE_PIXELS) -> Image.Image:
    """Paint soft shading with the least grain that a decoder leaves, as models do."""
    return _grainy(seed=2, side=side, octaves=6, falloff=0.45, grain=1.2)


def photo(side: int = SIDE_PIXELS) -> Image.Image:
    """Paint detail at every scale, with the grain of a sensor."""
    return _grainy(seed=3, side=side, octaves=9, falloff=0.6, grain=3.0)


def noisy(side: int = SIDE_PIXELS) -> Image.Image:
    """Paint shading under heavy grain, of which hardly anything can be predicted."""
    return _grainy(seed=4, side=side, octaves=6, falloff=0.5, grain=20.0)


def upscaled(side: int = SIDE_PIXELS) -> Image.Image:
    """Enlarge a photo of half the size, so that every pixel resembles its neighbours."""
    small = _grainy(seed=5, side=max(1, side // 2), octaves=8, falloff=0.6, grain=2.0)
    return small.resize((side, side), Image.Resampling.BICUBIC)


KINDS: Final[dict[str, Callable[[int], Image.Image]]] = {
    "flat": flat,
    "typical": typical,
    "photo": photo,
    "noisy": noisy,
    "upscaled": upscaled,
}


def _grainy(*, seed: int, side: int, octaves: int, falloff: float, grain: float) -> Image.Image:
    random = np.random.default_rng(seed)
    light = _octaves(random, side, octaves, falloff)
    tinted = np.stack([light + 0.4 * _octaves(random, side, 4, 0.5) for _ in range(3)], axis=-1)
    scaled = 255 * (tinted - tinted.min()) / np.ptp(tinted)
    painted = scaled + random.normal(0.0, grain, scaled.shape)
    return Image.fromarray(np.clip(np.rint(painted), 0, 255).astype(np.uint8))


def _octaves(random: np.random.Generator, side: int, count: int, falloff: float) -> Plane:
    """Return smooth noise; each octave is twice as fine as the one before, and `falloff` times as strong."""
    plane = np.zeros((side, side), np.float32)
    for octave in range(count):
        cells = min(4 * 2**octave, side)
        knots = Image.fromarray(random.standard_normal((cells, cells)).astype(np.float32))
        plane += falloff**octave * np.asarray(knots.resize((side, side), Image.Resampling.BICUBIC))
    return plane
