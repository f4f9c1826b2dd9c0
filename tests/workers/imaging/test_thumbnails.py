"""Thumbnails of finished pictures: small, of the same shape and the same colours."""

import io

import pytest
from PIL import Image

from tests import images
from workers.imaging import thumbnails


@pytest.mark.parametrize(
    ("size", "small"), [((1024, 512), (320, 160)), ((256, 768), (107, 320)), ((256, 256), (256, 256))]
)
@pytest.mark.parametrize("written", ["PNG", "JPEG", "WEBP"])
def test_a_thumbnail_has_the_shape_and_the_colours_of_its_picture(
    size: tuple[int, int], small: tuple[int, int], written: str
) -> None:
    content = images.saved(images.halves(*size), written)
    with Image.open(io.BytesIO(thumbnails.make(content))) as made:
        assert (made.format, made.size) == ("WEBP", small)
        assert images.near(made.getpixel((5, 5)), images.RED, tolerance=16)
        assert images.near(made.getpixel((made.width - 6, 5)), images.BLUE, tolerance=16)
