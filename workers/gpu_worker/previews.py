"""The preview publisher, a thread that renders, encodes, seals and publishes the partial images of running attempts.

The thread that drives the device only puts a preview into a queue, so it waits for no device and for no Redis.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final, NamedTuple

import numpy as np
from PIL import Image

from workers import liveness, moderation
from workers.engine.interface import Picture, Preview, PreviewCallback
from workers.gpu_worker import marking
from workers.imaging import encoders
from workers.imaging.encoders import Encoding
from workers.messaging import background, partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation

# A preview that finds more than these before it is dropped. Each holds its latents, which are a few megabytes.
MAX_WAITING: Final = 16
MAX_SIDE_PIXELS: Final = 512
# A preview of more bytes is halved, down to this side.
MAX_BYTES: Final = 100_000
MIN_SIDE_PIXELS: Final = 64


class _Waiting(NamedTuple):
    generation: Generation
    preview: Preview


class PreviewPublisher:
    """A thread that publishes the previews of the generations that are followed. Call `start` and `close` once."""

    def __init__(self) -> None:
        self._waiting: SimpleQueue[_Waiting | None] = SimpleQueue()
        self._followed: set[int] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=liveness.run_watched, args=(self._run,), name="previews", daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread, after the previews that wait."""
        self._waiting.put(None)
        self._thread.join()

    @contextmanager
    def follow(self, generation: Generation) -> Iterator[PreviewCallback]:
        """Give the callback for the engine's previews, which returns at once, and publish none after the block."""

        def note(preview: Preview) -> None:
            if self._waiting.qsize() < MAX_WAITING:
                self._waiting.put(_Waiting(generation, preview))

        with self._lock:
            self._followed.add(generation.pk)
        try:
            yield note
        finally:
            with self._lock:
                self._followed.discard(generation.pk)

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            background.survive(name="previews", work=lambda: self._publish(*waiting))

    def _publish(self, generation: Generation, preview: Preview) -> None:
        if not self._is_followed(generation.pk):
            return
        try:
            image = encode(preview, xmp=marking.xmp_packet(generation))
        except moderation.ContentRefused:
            # The finished picture is asked about too, and decides.
            return
        if self._is_followed(generation.pk):
            partial_images.publish(account_id=generation.account_id, generation_id=generation.pk, image=image)

    def _is_followed(self, generation_id: int) -> bool:
        with self._lock:
            return generation_id in self._followed


def count_of(generation: Generation) -> int:
    """Return how many partial images the generation asks for at most."""
    count: int = generation.parameters.get(partial_images.PARAMETER, 0)
    return count


def encode(preview: Preview, *, xmp: bytes = b"") -> PartialImage:
    """Render the preview, and encode it as a PNG with sides of at most MAX_SIDE_PIXELS and this XMP packet.

    Raise ContentRefused or ModerationFailed, because a client must not see a part of what is refused.
    """
    picture = preview.render()
    moderation.refuse_picture(picture=picture)
    if max(picture.shape) > MAX_SIDE_PIXELS:
        picture = _shrink(picture, MAX_SIDE_PIXELS)
    content = encoders.encode(picture, Encoding(), xmp=xmp)
    while len(content) > MAX_BYTES and max(picture.shape) >= 2 * MIN_SIDE_PIXELS:
        picture = _shrink(picture, max(picture.shape) // 2)
        content = encoders.encode(picture, Encoding(), xmp=xmp)
    height, width = picture.shape[:2]
    return PartialImage(preview.number, preview.step, width, height, content)


def _shrink(picture: Picture, side: int) -> Picture:
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    return np.asarray(image)
