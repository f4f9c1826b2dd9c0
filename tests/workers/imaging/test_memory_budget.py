"""The budget of memory: pictures wait for it in turn, and give it back."""

import threading

import pytest
from PIL import Image

from tests.images import halves, png_of, saved
from tests.processes import wait_until
from workers.imaging import source_images
from workers.imaging.file_structure import PictureFile
from workers.imaging.memory_budget import MemoryBudget
from workers.imaging.source_images import BYTES_PER_PIXEL, BYTES_PER_PIXEL_READ, InvalidImage, decode

BYTES = 96 * 64 * (BYTES_PER_PIXEL + BYTES_PER_PIXEL_READ["PNG"])


def test_a_picture_waits_while_the_bytes_in_work_are_at_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = MemoryBudget(3 * BYTES)
    monkeypatch.setattr(source_images, "_budget", budget)
    thread = threading.Thread(target=source_images.normalise, args=(saved(halves()),))
    with budget.spend(2 * BYTES + 1):
        thread.start()
        # It takes a few milliseconds where nothing holds it.
        thread.join(0.5)
        assert thread.is_alive()
    thread.join(30)
    assert not thread.is_alive()


def test_a_refused_picture_gives_its_bytes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_images, "_budget", MemoryBudget(BYTES))
    broken = png_of(96, 64, data=b"too few")
    for _ in range(3):
        with pytest.raises(InvalidImage):
            decode(broken)
    assert decode(saved(halves())).size == (96, 64)


def test_more_bytes_than_the_whole_budget_are_refused_and_not_awaited() -> None:
    with pytest.raises(ValueError, match="more than the whole budget"), MemoryBudget(10).spend(11):
        pass


def test_small_pictures_do_not_overtake_a_large_one_that_waits() -> None:
    budget = MemoryBudget(10)
    order: list[str] = []

    def spend(name: str, byte_count: int) -> None:
        with budget.spend(byte_count):
            order.append(name)

    large = threading.Thread(target=spend, args=("large", 10))
    small = threading.Thread(target=spend, args=("small", 1))
    with budget.spend(5):
        large.start()
        wait_until(lambda: budget._freed._waiters)  # type: ignore[attr-defined] # threading's own list
        small.start()
        small.join(0.2)
        assert order == []
    large.join(30)
    small.join(30)
    assert order == ["large", "small"]


@pytest.mark.parametrize(
    ("file_format", "file"),
    [
        ("PNG", PictureFile(b"")),
        ("PNG", PictureFile(b"", depth=16, transparent=(1, 2, 3))),
        ("JPEG", PictureFile(b"", endings=(b"", b""))),
        ("WEBP", PictureFile(b"")),
        ("GIF", PictureFile(b"")),
        ("HEIC", PictureFile(b"")),
    ],
)
def test_the_largest_picture_fits_into_the_budget(file_format: str, file: PictureFile) -> None:
    image = Image.new("1", (1, 1))
    image.format = file_format
    image._size = (source_images.MAX_PIXELS, 1)
    assert source_images._byte_count(image, file) <= source_images.BYTES_AT_ONCE
