"""Partial images of running attempts: published for those who asked, and never by the thread that drives the device."""

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from tests import factories
from tests.processes import wait_until
from workers.engine import preview_steps
from workers.engine.interface import ImageOrder, Picture, Preview, StepCallback
from workers.gpu_worker import attempt, previews
from workers.gpu_worker.previews import PreviewPublisher
from workers.imaging.xmp import SourceType
from workers.messaging import counters, partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation, Status

pytestmark = pytest.mark.django_db(transaction=True)
GRAIN = np.random.default_rng(1).integers(0, 256, (512, 384, 3), np.uint8)


@contextmanager
def publisher() -> Iterator[PreviewPublisher]:
    """Run a publisher; it ends with the block."""
    made = PreviewPublisher()
    made.start()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, PartialImage]]:
    """Collect what is published as well."""
    found: list[tuple[int, PartialImage]] = []
    publish = partial_images.publish

    def note(*, account_id: int, generation_id: int, image: PartialImage) -> None:
        publish(account_id=account_id, generation_id=generation_id, image=image)
        found.append((generation_id, image))

    monkeypatch.setattr(partial_images, "publish", note)
    return found


def preview(picture: Picture = GRAIN, *, index: int = 0) -> Preview:
    return Preview(index, index + 1, lambda: picture)


def submit(count: int) -> Generation:
    parameters = {"width": 512, "height": 512, "seed": 1, **({"partial_images": count} if count else {})}
    return factories.submit(factories.account(), parameters=[parameters], now=None)


@pytest.mark.parametrize(
    ("picture", "size"),
    [
        (np.zeros((1024, 768, 3), np.uint8), (384, 512)),
        (np.zeros((256, 192, 3), np.uint8), (192, 256)),
        (GRAIN, (96, 128)),
        (np.zeros((8, 8, 3), np.uint8), (8, 8)),
    ],
)
def test_a_partial_image_has_at_most_512_pixels_a_side_and_100_kilobytes(
    picture: Picture, size: tuple[int, int]
) -> None:
    image = previews.encode(Preview(2, 3, lambda: picture))
    assert (image.number, image.step, image.width, image.height) == (2, 3, *size)
    assert len(image.content) <= previews.MAX_BYTES
    opened = Image.open(io.BytesIO(image.content))
    assert (opened.format, opened.mode, opened.size) == ("PNG", "RGB", size)


def test_the_owner_reads_what_the_engine_showed(published: list[tuple[int, PartialImage]]) -> None:
    generation = submit(2)
    with publisher() as running, running.follow(generation) as note:
        note(preview(index=0))
        note(preview(index=1))
        wait_until(lambda: len(published) == 2)
        for index, (generation_id, image) in enumerate(published):
            assert (generation_id, image.number) == (generation.pk, index)
            read = partial_images.read(
                account_id=generation.account_id, generation_id=generation.pk, index=index
            )
            assert read == image


def test_a_preview_says_that_it_was_generated(published: list[tuple[int, PartialImage]]) -> None:
    with publisher() as running, running.follow(submit(1)) as note:
        note(preview())
        wait_until(lambda: published)
    with Image.open(io.BytesIO(published[0][1].content)) as image:
        assert SourceType.CREATED.encode() in image.info["xmp"]


def test_nothing_is_published_after_the_attempt(published: list[tuple[int, PartialImage]]) -> None:
    ended, other = submit(1), submit(1)
    with publisher() as running, running.follow(other) as note_other:
        with running.follow(ended) as note_ended:
            pass
        note_ended(preview())
        note_other(preview())
        wait_until(lambda: published)
    assert [generation_id for generation_id, _ in published] == [other.pk]


def test_the_thread_of_the_device_waits_for_nothing_and_a_full_queue_drops(
    published: list[tuple[int, PartialImage]],
) -> None:
    generation = submit(3)
    goes_on = threading.Event()

    def render() -> Picture:
        assert goes_on.wait(60)
        return GRAIN

    with publisher() as running, running.follow(generation) as note:
        # It would never return if it waited for the device.
        for _ in range(previews.MAX_WAITING + 10):
            note(Preview(0, 1, render))
        goes_on.set()
        wait_until(lambda: published)
    assert len(published) <= previews.MAX_WAITING + 1


def test_an_error_that_nobody_expected_does_not_end_the_publisher(
    published: list[tuple[int, PartialImage]],
) -> None:
    generation = submit(2)

    def fail() -> Picture:
        raise LookupError("unexpected")

    before = counters.read_background_error_counts().get("previews", 0)
    with publisher() as running, running.follow(generation) as note:
        note(Preview(0, 1, fail))
        note(preview(index=1))
        wait_until(lambda: published)
    assert counters.read_background_error_counts()["previews"] == before + 1


class Previewing(factories.StandInEngine):
    """An engine of four steps that shows what it is asked for, and waits before its end."""

    def __init__(self, published: list[tuple[int, PartialImage]]) -> None:
        super().__init__()
        self._published = published

    def _wait_for(self, count: int) -> None:
        wait_until(lambda: len(self._published) >= count)

    def generate(self, orders: Sequence[ImageOrder], *, on_step: StepCallback) -> list[Image.Image]:
        for order in orders:
            for done in range(1, 4):
                if preview_steps.is_due(order, done=done, step_count=4):
                    preview_steps.offer(order, done=done, step_count=4, render=lambda: GRAIN)
            self._wait_for(order.preview_count)
        return super().generate(orders, on_step=on_step)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_attempt_shows_as_many_as_its_request_asks_for_and_deletes_them_afterwards(
    published: list[tuple[int, PartialImage]], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    monkeypatch.setattr("workers.messaging.enqueue.send", lambda *, generation_id: None)
    generation = submit(count)
    engine = Previewing(published)
    with publisher() as running, factories.attempt_context(engine) as context:
        attempt.run_next(context=context._replace(follow_previews=running.follow))
    generation.refresh_from_db()
    assert generation.status == Status.COMPLETED
    assert engine.orders[0].preview_count == count
    assert [image.number for _, image in published] == list(range(count))
    for index in range(3):
        assert (
            partial_images.read(account_id=generation.account_id, generation_id=generation.pk, index=index)
            is None
        )


def test_a_worker_without_previews_makes_the_picture_all_the_same() -> None:
    generation = submit(3)
    engine = factories.StandInEngine()
    with factories.attempt_context(engine) as context:
        attempt.run_next(context=context)
    generation.refresh_from_db()
    assert generation.status == Status.COMPLETED
    assert engine.orders[0].preview_count == 0
