"""ICC profiles (ICC.1:2010): those of untrusted files, checked, and those that other colour information stands for.

A profile's tables say how large they are before their numbers come. A library reserves that memory first, so a table
must fit into the bytes of its tag.
"""

import math
import struct
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

# Profiles of printers have 0.5 to 3 MB.
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
MAX_TAGS: Final = 100
RGB: Final = b"RGB "
GREY: Final = b"GRAY"
CMYK: Final = b"CMYK"
_HEADER_BYTES: Final = 128
_TAG: Final = struct.Struct(">4sII")
_CLASSES: Final = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
# Tables of 8 and 16 bits a number, and the newer tables, which say it.
_TABLES: Final = {b"mft1": 1, b"mft2": 2}
_NEWER_TABLES: Final = frozenset({b"mAB ", b"mBA "})
# Programs of curves and tables, which hardly any picture has. Their sizes are in too many places to be checked.
_PROGRAM: Final = b"mpet"
_CURVE_POINTS: Final = 4096
_D50: Final = np.array([0.9642, 1.0, 0.8249])
# Bradford's matrix, by which whites are adapted (ICC.1:2010, annex E).
_BRADFORD: Final = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])

Curve = Callable[[float], float]


def colour_space(profile: bytes) -> bytes:
    """Return the colour space of a profile's numbers, or nothing for a profile that is broken, absurd or of no use."""
    if not _HEADER_BYTES + 4 <= len(profile) <= MAX_PROFILE_BYTES or profile[36:40] != b"acsp":
        return b""
    (byte_count,) = struct.unpack_from(">I", profile)
    (count,) = struct.unpack_from(">I", profile, _HEADER_BYTES)
    end = _HEADER_BYTES + 4 + count * _TAG.size
    if profile[12:16] not in _CLASSES or count > MAX_TAGS or max(end, byte_count) > len(profile):
        return b""
    tags = _TAG.iter_unpack(profile[_HEADER_BYTES + 4 : end])
    return profile[16:20] if all(_fits(profile, offset, size) for _, offset, size in tags) else b""


def write_rgb(curve: Curve, chromaticities: tuple[float, ...]) -> bytes:
    """Return the profile of RGB with this curve from numbers to light, both from 0 to 1.

    `chromaticities` are x and y of white, red, green and blue. Raise ValueError for colours that cannot be mixed.
    """
    table = _curve(curve)
    columns = _adapted(chromaticities).T
    tags = {b"wtpt": _xyz(_D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[letter + b"XYZ"], tags[letter + b"TRC"] = _xyz(column), table
    return _write(RGB, tags)


def write_grey(curve: Curve) -> bytes:
    """Return the profile of grey with this curve from numbers to light, both from 0 to 1."""
    return _write(GREY, {b"wtpt": _xyz(_D50), b"kTRC": _curve(curve)})


def _fits(profile: bytes, offset: int, byte_count: int) -> bool:
    tag = profile[offset : offset + byte_count]
    kind = tag[:4]
    if len(tag) != byte_count or kind == _PROGRAM:
        return False
    if kind in _TABLES:
        return len(tag) > 11 and tag[10] ** min(tag[8], 16) * tag[9] * _TABLES[kind] <= byte_count
    if kind in _NEWER_TABLES:
        return len(tag) >= 32 and _newer_table_fits(tag)
    return True


def _newer_table_fits(tag: bytes) -> bool:
    (start,) = struct.unpack_from(">I", tag, 24)
    if not start:
        return True
    sides, bytes_each = tag[start : start + min(tag[8], 16)], tag[start + 16 : start + 17]
    return bool(bytes_each) and math.prod(sides) * tag[9] * bytes_each[0] <= len(tag)


def _adapted(chromaticities: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the matrix from linear RGB to XYZ under D50."""
    if min(chromaticities[1::2]) <= 0:
        raise ValueError("a colour without light")
    white, *primaries = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in _pairs(chromaticities))
    matrix = np.stack(primaries, axis=1)
    try:
        matrix = matrix * np.linalg.solve(matrix, white)
        cone, target = _BRADFORD @ white, _BRADFORD @ _D50
        adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ np.diag(target / cone) @ _BRADFORD @ matrix
    except np.linalg.LinAlgError as error:
        raise ValueError("primaries on one line") from error
    if not np.all(np.abs(adapted) < 4):
        raise ValueError("colours far from any light")
    return adapted


def _pairs(numbers: tuple[float, ...]) -> list[tuple[float, float]]:
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _curve(curve: Curve) -> bytes:
    points = [min(1.0, max(0.0, curve(i / (_CURVE_POINTS - 1)))) for i in range(_CURVE_POINTS)]
    numbers = np.rint(np.array(points) * 0xFFFF).astype(">u2")
    return struct.pack(">4s4xI", b"curv", _CURVE_POINTS) + bytes(numbers.tobytes())


def _xyz(colour: NDArray[np.float64]) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65_536) for value in colour))


def _write(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    position = _HEADER_BYTES + 4 + len(tags) * _TAG.size
    places: dict[bytes, int] = {}
    for content in tags.values():
        if content not in places:
            places[content], position = position, position + len(content)
    header = struct.pack(">I4s4B4s4s4s", position, b"", 2, 0x40, 0, 0, b"mntr", space, b"XYZ ").ljust(
        36, b"\0"
    )
    illuminant = _xyz(_D50)[8:]
    header = (header + b"acsp").ljust(68, b"\0") + illuminant
    table = b"".join(_TAG.pack(name, places[content], len(content)) for name, content in tags.items())
    return header.ljust(_HEADER_BYTES, b"\0") + struct.pack(">I", len(tags)) + table + b"".join(places)
