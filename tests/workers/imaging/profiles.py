"""ICC profiles written by hand, and colours computed from published matrices, without the library under test."""

import struct
from collections.abc import Sequence

import numpy as np

Matrix = list[list[float]]
# Columns are red, green and blue in XYZ under D50, as their makers publish them.
DISPLAY_P3: Matrix = [[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]
ADOBE_RGB: Matrix = [[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]
SRGB: Matrix = [[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]]
ADOBE_GAMMA = 563 / 256


def srgb_light(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def srgb_number(light: float) -> int:
    light = min(1.0, max(0.0, light))
    return round(255 * (12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055))


def in_srgb(colour: Sequence[int], matrix: Matrix, gamma: float | None = None) -> tuple[int, int, int]:
    """Return the colour of the matrix in sRGB. Without a gamma, its numbers have the curve of sRGB."""
    light = [srgb_light(x / 255) if gamma is None else (x / 255) ** gamma for x in colour]
    red, green, blue = np.linalg.inv(np.array(SRGB)) @ np.array(matrix) @ np.array(light)
    return srgb_number(red), srgb_number(green), srgb_number(blue)


def rgb_profile(matrix: Matrix, gamma: float | None = None) -> bytes:
    """Write a profile of RGB, with the curve of sRGB if there is no gamma."""
    curve = gamma_curve(gamma) if gamma else srgb_curve()
    columns = zip((b"rXYZ", b"gXYZ", b"bXYZ"), np.array(matrix).T, strict=True)
    colours = {name: xyz(*column) for name, column in columns}
    return profile(b"RGB ", {**colours, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve})


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def cmyk_profile(corners: dict[tuple[int, int, int, int], tuple[int, int, int]]) -> bytes:
    """Write a profile of inks whose corners, each ink 0 or 1, are these colours of CIELAB, else black."""
    names = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    colours = [corners.get(name, (0, 0, 0)) for name in names]
    table = bytes(x for light, a, b in colours for x in (round(light * 255 / 100), a + 128, b + 128))
    identity = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
    straight = bytes(range(256))
    head = struct.pack(">4s4x4B", b"mft1", 4, 3, 2, 0)
    return profile(
        b"CMYK", {b"A2B0": head + identity + straight * 4 + table + straight * 3}, kind=b"prtr", pcs=b"Lab "
    )


def profile(space: bytes, tags: dict[bytes, bytes], *, kind: bytes = b"mntr", pcs: bytes = b"XYZ ") -> bytes:
    tags = {b"wtpt": xyz(0.9642, 1.0, 0.8249), **tags}
    table, content = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        table += struct.pack(">4sII", name, start + len(content), len(tag))
        content += tag.ljust(-(-len(tag) // 4) * 4, b"\0")
    size = start + len(content)
    head = struct.pack(">I4s4s4s4s4s12s4s", size, b"", b"\x02\x40\0\0", kind, space, pcs, b"", b"acsp")
    head = head.ljust(68, b"\0") + xyz(0.9642, 1.0, 0.8249)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + content


def xyz(*values: float) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65_536) for value in values))


def gamma_curve(gamma: float) -> bytes:
    return struct.pack(">4s4xIH", b"curv", 1, round(gamma * 256))


def srgb_curve() -> bytes:
    points = [round(srgb_light(i / 1023) * 65_535) for i in range(1024)]
    return struct.pack(">4s4xI1024H", b"curv", 1024, *points)
