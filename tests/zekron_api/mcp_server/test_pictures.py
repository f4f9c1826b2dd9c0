"""The image of a result: passed on as it is while it is small, and else a smaller WebP with the same mark."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from workers.imaging import xmp
from workers.imaging.encoders import Encoding, OutputFormat, encode
from zekron_api.mcp_server import pictures
from zekron_api.mcp_server.pictures import MAX_FILE_BYTES, Picture

MARK = xmp.write(source_type=xmp.SourceType.CREATED, software="s", model="m")
# No codec makes noise small.
NOISE = np.random.default_rng(1).integers(0, 256, (1024, 1024, 3), dtype=np.uint8)


def _picture(content: bytes, mime_type: str) -> Picture:
    return Picture(base64.b64encode(content).decode(), mime_type)


def test_a_small_file_is_passed_on_as_it_is() -> None:
    picture = _picture(bytes(MAX_FILE_BYTES), "image/png")
    assert pictures.fit(picture) is picture


def test_the_compression_that_is_ordered_leaves_a_detailed_photo_of_a_megapixel_as_it_is() -> None:
    # The sum of noises of many scales has the spectrum of a photo.
    noises = [
        Image.fromarray(NOISE[:side, :side]).resize((1024, 1024), Image.Resampling.BICUBIC)
        for side in (4, 16, 64, 256)
    ]
    photo = np.mean([np.asarray(noise) for noise in noises], axis=0).astype(np.uint8)
    assert len(encode(photo, Encoding(OutputFormat.WEBP, pictures.COMPRESSION), xmp=MARK)) <= MAX_FILE_BYTES


@pytest.mark.parametrize("output_format", OutputFormat)
def test_a_large_file_becomes_a_webp_that_fits_and_keeps_its_mark(output_format: OutputFormat) -> None:
    file = encode(NOISE, Encoding(output_format), xmp=MARK)
    assert len(file) > MAX_FILE_BYTES
    fitted = pictures.fit(_picture(file, output_format.mime_type))
    content = base64.b64decode(fitted.b64_data)
    assert len(fitted.b64_data) <= 1_000_000
    assert fitted.mime_type == "image/webp"
    with Image.open(io.BytesIO(content)) as opened:
        assert (opened.format, opened.size) == ("WEBP", (1024, 1024))
        assert xmp.read_source_type(opened.info["xmp"]) == xmp.SourceType.CREATED


def test_a_picture_that_no_quality_makes_small_enough_is_halved_until_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "MAX_FILE_BYTES", 60_000)
    fitted = pictures.fit(_picture(encode(NOISE, Encoding(OutputFormat.JPEG)), "image/jpeg"))
    content = base64.b64decode(fitted.b64_data)
    assert len(content) <= 60_000
    with Image.open(io.BytesIO(content)) as opened:
        assert opened.size == (256, 256)
