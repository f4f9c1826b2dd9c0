"""The event of a partial image: a rough picture of an unfinished one, for the owner of a running generation."""

from typing import Final

import orjson
import pybase64

from workers.lifecycle import partials, watching
from workers.messaging import partial_images
from workers.messaging.partial_images import PartialImage
from workers.models import Generation
from zekron_api.waiting.event_stream import Event

NAME: Final = "partial_image"


def count_of(generation: Generation) -> int:
    """Return how many partial images the generation has at most."""
    count: int = generation.parameters.get(partial_images.PARAMETER, 0)
    return count if generation.is_open else 0


def find(index: int, *, account_id: int, generation_id: int) -> tuple[Generation, PartialImage] | None:
    """Return the account's generation and its partial image, or None without one.

    A generation that has ended or is to be cancelled has none. The row notes that the image is delivered.
    """
    image = partial_images.read(account_id=account_id, generation_id=generation_id, index=index)
    if image is None:
        return None
    generation = partials.mark_delivered(account_id=account_id, generation_id=generation_id)
    return None if generation is None else (generation, image)


def build(index: int, *, account_id: int, generation_id: int) -> Event | None:
    """Return the event of the account's partial image, or None without one."""
    found = find(index, account_id=account_id, generation_id=generation_id)
    if found is None:
        return None
    generation, image = found
    data = {
        "index": image.number,
        "b64_json": pybase64.b64encode_as_string(image.content),
        "mime_type": partial_images.MIME_TYPE,
        "width": image.width,
        "height": image.height,
        "step": image.step,
    }
    return Event(NAME, watching.version_of(generation), orjson.dumps(data))
