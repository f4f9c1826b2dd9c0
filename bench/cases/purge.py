"""C11: expired images are made unreadable, and their bytes are deleted.

A goes row by row with the same guarantees: the key is destroyed and committed, the object is deleted, and the row is
marked. B is `storage.images.purge`, called until nothing is left. Both find real files in the store's folder.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final

from django.core.files.storage import storages
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from bench.benchmark import Benchmark, Figure, Round, Samples
from storage import images
from storage.models import StoredImage

FEW: Final = 1_000
# The files of one folder. The store has a folder for each hour.
FILES_A_FOLDER: Final = 10_000
# Linux's folder in memory. On a disk, hundreds of thousands of files a round would measure the disk.
MEMORY: Final = Path("/dev/shm")  # noqa: S108 (each run makes its own folder in it)

_INSERT: Final = """
INSERT INTO storage_storedimage
    (object_key, bound_to, mime_type, byte_count, algorithm, master_key_id, wrapped_key, expires_at)
SELECT format('2025/01/01/%%s/%%s', lpad((number / %(folder)s)::text, 2, '0'), number), 'benchmark', 'image/png', 9,
    'A256CBC-HS512', 'a', '\\x00', now() - interval '1 hour'
FROM generate_series(0, %(count)s - 1) AS number
"""


def purge_row_by_row() -> None:
    """Purge each expired image in turn, by the ORM."""
    store = storages["objects"]
    for pk in StoredImage.objects.filter(expires_at__lte=timezone.now()).values_list("pk", flat=True):
        with transaction.atomic():
            image = StoredImage.objects.select_for_update().get(pk=pk)
            image.wrapped_key = None
            image.key_destroyed_at = timezone.now()
            image.save()
        store.delete(image.object_key)
        image.purged_at = timezone.now()
        image.save()


def purge_in_batches() -> None:
    """Purge as `beat` does, until nothing is left."""
    while images.purge():
        pass


@contextmanager
def _prepare(many: int) -> Iterator[Round]:
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as name:
        folder = Path(name)
        store = {"BACKEND": "storage.file_store.FileStore", "OPTIONS": {"location": name}}
        with override_settings(STORAGES={"objects": store}):
            yield partial(_measure, folder, many)


def _measure(folder: Path, many: int, b_first: bool) -> Samples:
    works = [(purge_in_batches, FEW), (purge_row_by_row, FEW), (purge_in_batches, many)]
    seconds = {}
    for work, count in works if b_first else reversed(works):
        _fill(folder, count)
        started = time.perf_counter()
        work()
        seconds[work, count] = (time.perf_counter() - started) / count
        assert StoredImage.objects.filter(wrapped_key=None, purged_at__isnull=False).count() == count
        assert not any(path.is_file() for path in folder.rglob("*"))
    few, usual = seconds[purge_in_batches, FEW], seconds[purge_row_by_row, FEW]
    return {
        "A": usual,
        "B": few,
        "ratio": usual / few,
        "rate of many beside few": few / seconds[purge_in_batches, many],
    }


def _fill(folder: Path, count: int) -> None:
    """Create this many expired images, each with its file."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE storage_storedimage CASCADE")
        cursor.execute(_INSERT, {"count": count, "folder": FILES_A_FOLDER})
        cursor.execute("VACUUM ANALYZE storage_storedimage")
        cursor.execute("CHECKPOINT")
    for object_key in StoredImage.objects.values_list("object_key", flat=True):
        path = folder / object_key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an object")


def _build_benchmark(name: str, many: int, *, large: bool) -> Benchmark:
    return Benchmark(
        code="C11",
        name=name,
        a=f"{FEW:,} expired images purged row by row",
        b=f"the same by storage.images.purge, and {many:,}",
        clock="wall",
        figures=(
            Figure(name="ratio", at_least=20),
            Figure(name="rate of many beside few", at_least=0.4, aim=0.7, unit=""),
        ),
        prepare=partial(_prepare, many),
        needs_database=True,
        large=large,
    )


BENCHMARKS: Final = (
    _build_benchmark("purge", 100_000, large=False),
    _build_benchmark("purge-large", 1_000_000, large=True),
)
