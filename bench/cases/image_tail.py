"""C2: the path from the engine's pixels to an object in the store.

A is the usual code without this project: Pillow's default PNG, padded and encrypted by `cryptography` as its manual
shows (AES-256-CBC, then HMAC-SHA-512 over all of it), and saved by Django's store of files. B is
`workers.imaging.encoders` and `storage.images.put`, which also wraps the key and syncs the object to the disk. Both
write to one folder, and each object is opened again and compared.

The other formats are timed by the same tail. Their figures are the time in parts of the PNG's.
"""

import io
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from cryptography.hazmat.primitives import hashes, hmac, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, storages
from django.test import override_settings
from PIL import Image

from bench import pictures
from bench.benchmark import Benchmark, Figure, Round, Samples, compare_in_turn, measure_cost
from bench.cases.png import encode_with_pillow
from storage import envelope, images, keyring
from storage.models import StoredImage
from workers.imaging import encoders, png, xmp
from workers.imaging.encoders import Encoding, OutputFormat

_PNG: Final = Encoding()
_OTHERS: Final = {
    "jpeg": Encoding(OutputFormat.JPEG),
    "webp": Encoding(OutputFormat.WEBP, 80),
    "webp_lossless": Encoding(OutputFormat.WEBP),
}
_XMP: Final = xmp.write(source_type=xmp.SourceType.CREATED, software="Zekron", model="zekron-image-1")


def store_naively(pixels: png.Pixels, store: FileSystemStorage) -> tuple[str, bytes, bytes]:
    """Store the picture, and return the name of the object and its keys."""
    encryption_key, mac_key, iv = secrets.token_bytes(32), secrets.token_bytes(32), secrets.token_bytes(16)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(encode_with_pillow(pixels)) + padder.finalize()
    encryptor = Cipher(algorithms.AES(encryption_key), modes.CBC(iv)).encryptor()
    sealed = iv + encryptor.update(padded) + encryptor.finalize()
    mac = hmac.HMAC(mac_key, hashes.SHA512())
    mac.update(sealed)
    return store.save(secrets.token_hex(16), ContentFile(sealed + mac.finalize())), encryption_key, mac_key


def store_ours(pixels: png.Pixels, encoding: Encoding = _PNG) -> StoredImage:
    """Store the picture as a worker does, and return its unsaved row."""
    return images.put(
        content=encoders.encode(pixels, encoding, xmp=_XMP),
        mime_type=encoding.format.mime_type,
        associated_data="benchmark",
        expires_at=datetime.now(UTC) + timedelta(hours=24),
    )


@contextmanager
def _prepare() -> Iterator[Round]:
    arrays = [np.array(paint(pictures.SIDE_PIXELS)) for paint in pictures.KINDS.values()]
    with tempfile.TemporaryDirectory() as folder, override_settings(STORAGES=_stores(Path(folder))):
        store = FileSystemStorage(Path(folder) / "naive")
        for pixels in arrays:
            assert np.array_equal(_decode(_open_naively(*store_naively(pixels, store), store)), pixels)
            assert np.array_equal(_decode(_open(store_ours(pixels))), pixels)
        compare = compare_in_turn(
            lambda: [store_naively(pixels, store) for pixels in arrays],
            lambda: [store_ours(pixels) for pixels in arrays],
            times_b=5,
        )

        def measure(b_first: bool) -> Samples:
            samples = compare(b_first)
            others = {
                name: measure_cost(partial(_store_all, arrays, encoding))
                for name, encoding in _OTHERS.items()
            }
            return {**samples, **{name: seconds / samples["B"] for name, seconds in others.items()}}

        yield measure


def _store_all(arrays: Sequence[png.Pixels], encoding: Encoding) -> None:
    for pixels in arrays:
        store_ours(pixels, encoding)


def _stores(folder: Path) -> dict[str, Any]:
    objects = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": str(folder / "ours")}}
    return {"objects": objects}


def _open_naively(name: str, encryption_key: bytes, mac_key: bytes, store: FileSystemStorage) -> bytes:
    with store.open(name) as file:
        content = file.read()
    mac = hmac.HMAC(mac_key, hashes.SHA512())
    mac.update(content[:-64])
    mac.verify(content[-64:])
    decryptor = Cipher(algorithms.AES(encryption_key), modes.CBC(content[:16])).decryptor()
    unpadder = padding.PKCS7(128).unpadder()
    return unpadder.update(decryptor.update(content[16:-64]) + decryptor.finalize()) + unpadder.finalize()


def _open(row: StoredImage) -> bytes:
    with storages["objects"].open(row.object_key) as file:
        sealed = file.read()
    assert row.wrapped_key is not None
    return envelope.unseal(
        sealed=sealed,
        content_key=keyring.unwrap(master_key_id=row.master_key_id, wrapped_key=bytes(row.wrapped_key)),
        algorithm=row.algorithm,
        associated_data=row.associated_data,
        mime_type=row.mime_type,
        byte_count=row.byte_count,
    )


def _decode(content: bytes) -> png.Pixels:
    with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
        return np.array(picture)


BENCHMARKS: Final = (
    Benchmark(
        code="C2",
        name="image-tail",
        a="five 1024² pictures: Pillow's PNG, cryptography as its manual shows, Django's store of files",
        b="the same by workers.imaging.encoders and storage.images.put, to a disk that has them for sure",
        clock="CPU",
        figures=(
            Figure(name="ratio", at_least=12, aim=20),
            Figure(name="jpeg", at_least=1, aim=0.5, lower_is_better=True, unit=" of the PNG's time"),
            Figure(name="webp", at_least=1, aim=0.5, lower_is_better=True, unit=" of the PNG's time"),
            Figure(name="webp_lossless", lower_is_better=True, unit=" of the PNG's time"),
        ),
        prepare=_prepare,
        # A put refuses an open transaction, so it asks for the connection.
        needs_database=True,
    ),
)
