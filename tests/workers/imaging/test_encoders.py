import io
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image, ImageCms

from bench import pictures
from tests.workers.imaging.test_png import chunks
from workers.imaging import encoders, xmp
from workers.imaging.encoders import Encoding, OutputFormat

PIXELS = np.array(pictures.KINDS["photo"](128))
PACKET = xmp.write(source_type=xmp.SourceType.CREATED, software="Zekron", model="a model")
ALL = [Encoding(OutputFormat(name), compression) for name in OutputFormat for compression in (0, 40, 80, 100)]
SOF0, APP1, APP2 = 0xC0, 0xE1, 0xE2


def opened(content: bytes) -> Image.Image:
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return image


def jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers and data, up to the first scan."""
    assert content.startswith(b"\xff\xd8")
    assert content.endswith(b"\xff\xd9")
    offset = 2
    while True:
        start, marker, length = struct.unpack_from(">BBH", content, offset)
        assert start == 0xFF
        if marker == 0xDA:
            return
        yield marker, content[offset + 4 : offset + 2 + length]
        offset += 2 + length


def riff_chunks(content: bytes) -> dict[bytes, bytes]:
    """Return the chunks of a WebP (RFC 9649 §2.3)."""
    assert (content[:4], content[8:12]) == (b"RIFF", b"WEBP")
    assert struct.unpack_from("<I", content, 4)[0] == len(content) - 8
    found, offset = {}, 12
    while offset < len(content):
        name, length = content[offset : offset + 4], struct.unpack_from("<I", content, offset + 4)[0]
        found[name] = content[offset + 8 : offset + 8 + length]
        offset += 8 + length + length % 2
    return found


def metadata(content: bytes, kind: OutputFormat) -> tuple[bytes | None, bytes | None]:
    """Return the XMP packet and the ICC profile, found by hand. A PNG has a chunk in place of a profile."""
    if kind is OutputFormat.PNG:
        found = dict(chunks(content))
        assert found[b"sRGB"] == b"\0"
        text = found.get(b"iTXt", b"")
        return text.removeprefix(b"XML:com.adobe.xmp\0\0\0\0\0") or None, None
    if kind is OutputFormat.WEBP:
        riff = riff_chunks(content)
        return riff.get(b"XMP "), riff.get(b"ICCP")
    segments = list(jpeg_segments(content))
    packets = [data.split(b"\0", 1)[1] for marker, data in segments if marker == APP1]
    profiles = [data.removeprefix(b"ICC_PROFILE\0\x01\x01") for marker, data in segments if marker == APP2]
    return (packets or [None])[0], profiles[0]


@pytest.mark.parametrize("encoding", ALL, ids=str)
def test_each_file_is_of_its_format_and_marked_and_says_that_it_is_srgb(encoding: Encoding) -> None:
    content = encoders.encode(PIXELS, encoding, xmp=PACKET)
    image = opened(content)
    assert (image.format, image.mode, image.size) == (encoding.format.upper(), "RGB", (128, 128))
    assert Image.MIME[image.format or ""] == encoding.format.mime_type
    packet, profile = metadata(content, encoding.format)
    assert packet == PACKET
    assert profile == (None if encoding.format is OutputFormat.PNG else encoders.SRGB_PROFILE)
    assert image.info["xmp"] == PACKET


@pytest.mark.parametrize("name", OutputFormat)
def test_a_file_without_a_packet_holds_its_colour_space_and_nothing_else(name: OutputFormat) -> None:
    content = encoders.encode(PIXELS, Encoding(name))
    packet, _ = metadata(content, name)
    assert packet is None
    known = {
        "srgb",
        "icc_profile",
        "jfif",
        "jfif_version",
        "jfif_unit",
        "jfif_density",
        "timestamp",
        "duration",
    }
    assert set(opened(content).info) <= {*known, "background", "loop"}


@pytest.mark.parametrize("encoding", ALL, ids=str)
def test_the_same_picture_gives_the_same_bytes(encoding: Encoding) -> None:
    first = encoders.encode(PIXELS, encoding, xmp=PACKET)
    assert first == encoders.encode(PIXELS.copy(), encoding, xmp=PACKET)


@pytest.mark.parametrize("encoding", ALL, ids=str)
def test_a_lossless_file_has_every_pixel_and_any_other_looks_alike(encoding: Encoding) -> None:
    pixels = np.array(opened(encoders.encode(PIXELS, encoding)))
    assert np.array_equal(pixels, PIXELS) == encoding.is_lossless
    if encoding.compression >= 40:
        assert np.abs(pixels.astype(int) - PIXELS).mean() < 12


@pytest.mark.parametrize("name", [OutputFormat.JPEG, OutputFormat.WEBP])
def test_less_compression_is_more_bytes_and_fewer_errors(name: OutputFormat) -> None:
    files = [encoders.encode(PIXELS, Encoding(name, compression)) for compression in (0, 30, 60, 89, 95)]
    assert [len(file) for file in files] == sorted(len(file) for file in files)
    errors = [np.abs(np.array(opened(file)).astype(int) - PIXELS).mean() for file in files]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize(("compression", "sampling"), [(100, 0x11), (90, 0x11), (89, 0x22), (0, 0x22)])
def test_a_jpeg_of_high_quality_keeps_the_full_resolution_of_its_colours(
    compression: int, sampling: int
) -> None:
    content = encoders.encode(PIXELS, Encoding(OutputFormat.JPEG, compression))
    frame = dict(jpeg_segments(content))[SOF0]
    # The components follow, each with its number, the sampling factors of both directions, and its table.
    assert [frame[7], frame[10], frame[13]] == [sampling, 0x11, 0x11]


def test_a_jpeg_of_compression_100_has_the_quality_95() -> None:
    assert encoders.encode(PIXELS, Encoding(OutputFormat.JPEG)) == encoders.encode(
        PIXELS, Encoding(OutputFormat.JPEG, 95)
    )


def test_the_profile_is_srgb_and_changes_no_colour() -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(encoders.SRGB_PROFILE))
    ramp = np.stack(np.meshgrid(np.arange(0, 256, 5), np.arange(0, 256, 5)), axis=-1)
    colours = np.concatenate([ramp, ramp[..., :1][::-1]], axis=-1).astype(np.uint8)
    converted = ImageCms.profileToProfile(
        Image.fromarray(colours), profile, ImageCms.createProfile("sRGB"), inPlace=False
    )
    assert converted is not None
    assert np.array_equal(np.array(converted), colours)


def test_a_profile_that_littlecms_writes_differs_in_its_date_and_its_platform_alone() -> None:
    fresh = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    fresh[24:36] = encoders.SRGB_PROFILE[24:36]
    fresh[40:44] = encoders.SRGB_PROFILE[40:44]
    assert bytes(fresh) == encoders.SRGB_PROFILE


@pytest.mark.parametrize("encoding", ALL, ids=str)
def test_parameters_keep_what_is_not_the_default_and_come_back(encoding: Encoding) -> None:
    assert Encoding.of({"width": 512, "seed": 1, **encoding.parameters}) == encoding
    is_default = (encoding.format, encoding.compression) == (OutputFormat.PNG, 100)
    assert bool(encoding.parameters) is not is_default


@pytest.mark.parametrize("name", OutputFormat)
def test_other_pixels_are_refused(name: OutputFormat) -> None:
    with pytest.raises(ValueError, match="a finished image is"):
        encoders.encode(PIXELS[..., :1], Encoding(name))
