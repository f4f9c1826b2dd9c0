"""Partial images: kept by a Redis that may fail, sent by workers, and taken by the clients that asked for them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np

from tests.simulation import actors
from tests.simulation.actors import Actor
from tests.simulation.faults import Fault
from workers.engine.interface import ImageOrder, Preview, PreviewCallback
from workers.gpu_worker import previews
from workers.lifecycle import partials
from workers.lifecycle.cancellation import GENERATION_CANCELLED
from workers.messaging import partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation
from zekron_api.endpoints import partial_image_event
from zekron_api.waiting.event_stream import Event

Ask = Callable[[Actor, str, Callable[[], Any]], Any]
_PICTURE: Final = np.zeros((8, 8, 3), np.uint8)


class PartialImages:
    """Partial images in the Redis of one simulation. The functions stand in for those of `partial_images`."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int, int], tuple[datetime, PartialImage]] = {}

    def publish(self, *, account_id: int, generation_id: int, image: PartialImage) -> None:
        """Keep the image, unless Redis fails."""
        actor = actors.current()
        if actor.gate("Redis gets a partial image", Fault.BROKEN) != Fault.BROKEN:
            until = actor.simulator.now + timedelta(seconds=partial_images.KEEP_SECONDS)
            self._kept[account_id, generation_id, image.number] = until, image

    def read(self, *, account_id: int, generation_id: int, index: int) -> PartialImage | None:
        """Return the image, or None if Redis fails or has none."""
        actor = actors.current()
        if actor.gate("Redis is asked for a partial image", Fault.BROKEN) == Fault.BROKEN:
            return None
        until, image = self._kept.get((account_id, generation_id, index), (actor.simulator.now, None))
        return image if until > actor.simulator.now else None

    def forget(self, *, generation_id: int) -> None:
        """Delete the images of a generation, unless Redis fails."""
        if actors.current().gate("Redis forgets partial images", Fault.BROKEN) != Fault.BROKEN:
            self._kept = {key: kept for key, kept in self._kept.items() if key[1] != generation_id}


@contextmanager
def follow(generation: Generation) -> Iterator[PreviewCallback]:
    """Give the callback for the engine's previews, which publishes them at once."""

    def publish(preview: Preview) -> None:
        partial_images.publish(
            account_id=generation.account_id, generation_id=generation.pk, image=previews.encode(preview)
        )

    yield publish


def send(order: ImageOrder, *, step: int) -> None:
    """Send the preview of this step, if the order asks for so many."""
    if step < order.preview_count and order.on_preview is not None:
        order.on_preview(Preview(step, step + 1, lambda: _PICTURE))


def take(actor: Actor, ask: Ask, generation: Generation) -> bool:
    """Take the partial images that are there, as an event stream does; return whether there was one."""
    count = generation.parameters.get(partial_images.PARAMETER, 0)
    build = partial(partial_image_event.build, account_id=generation.account_id, generation_id=generation.pk)
    events = [ask(actor, "a partial image", partial(build, index)) for index in range(count)]
    return any(isinstance(event, Event) for event in events)


def are_suspended(rows: Mapping[int, Any], *, account_id: int) -> bool:
    """Return whether the account has cancelled too many after partial images, by the rows as last committed."""
    cancelled = [
        row
        for row in rows.values()
        if row.account_id == account_id
        and row.are_partials_delivered
        and (row.status, row.error_type) == ("cancelled", GENERATION_CANCELLED)
    ]
    return len(cancelled) > partials.MAX_CANCELLED
