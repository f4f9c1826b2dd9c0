"""Sources in another shape: whole, centred, with their proportions, and continued from their edges."""

import numpy as np
import pytest
from PIL import Image

from workers.imaging import letterbox

BACK, BLOCK = (90, 140, 200), (200, 40, 40)


def with_block(size: tuple[int, int]) -> Image.Image:
    """Return a picture with a square of half its shorter side in the middle."""
    image = Image.new("RGB", size, BACK)
    half = min(size) // 4
    x, y = size[0] // 2, size[1] // 2
    image.paste(BLOCK, (x - half, y - half, x + half, y + half))
    return image


def find_block(image: Image.Image) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the block."""
    box = Image.fromarray((np.asarray(image)[..., 0] > 145).astype(np.uint8)).getbbox()
    assert box is not None
    return box


@pytest.mark.parametrize("target", [(512, 512), (1024, 768), (768, 1024), (256, 768)])
@pytest.mark.parametrize("source", [(128, 128), (400, 200), (200, 400), (1600, 900), (512, 64)])
def test_a_block_in_the_middle_stays_in_the_middle_and_a_square(
    source: tuple[int, int], target: tuple[int, int]
) -> None:
    fitted = letterbox.fit(with_block(source), target)
    assert fitted.size == target
    left, top, right, bottom = find_block(fitted)
    side = min(source) / 2 * min(target[0] / source[0], target[1] / source[1])
    middle = ((left + right) / 2, (top + bottom) / 2)
    assert middle == pytest.approx((target[0] / 2, target[1] / 2), abs=1.5)
    assert (right - left, bottom - top) == pytest.approx((side, side), abs=2.5)


def test_the_rest_continues_the_edges() -> None:
    sky_and_ground = Image.new("RGB", (200, 100), "skyblue")
    sky_and_ground.paste("green", (0, 50, 200, 100))
    fitted = letterbox.fit(sky_and_ground, (200, 200))
    assert [fitted.getpixel((100, y)) for y in (0, 49, 150, 199)] == [
        *[(135, 206, 235)] * 2,
        *[(0, 128, 0)] * 2,
    ]


def test_a_source_of_the_ordered_size_is_not_touched() -> None:
    source = Image.effect_noise((96, 64), 80).convert("RGB")
    assert letterbox.fit(source, (96, 64)) is source


def test_the_longest_source_keeps_a_pixel() -> None:
    assert letterbox.fit(Image.new("RGB", (4096, 2)), (256, 256)).size == (256, 256)
