"""Deletion on demand, by the owner: an image at once, or a generation with everything that its client wrote.

The row stays with its model, size, cost and times, and the money is not given back.
"""

from django.db import transaction
from django.db.models.functions import Least, Now

from storage import images
from workers.lifecycle import erasure
from workers.models import Generation, Timestamp
from workers.webhooks import events, outbox


class StillOpen(Exception):
    """The generation is queued or running. It can be cancelled, and deleted afterwards."""


def delete_generation(*, generation_id: int, now: Timestamp = Now()) -> None:
    """Destroy the key of the image, and erase the prompt and the parameters. A second call changes nothing more.

    Raise StillOpen. The keys of the sources were destroyed when the generation ended.
    """
    with transaction.atomic():
        generation = Generation.objects.select_for_update(no_key=True).get(pk=generation_id)
        if generation.is_open:
            raise StillOpen
        _delete_image(generation, now)
        erasure.erase(generation_ids=[generation_id])


def delete_image(*, generation_id: int, now: Timestamp = Now()) -> None:
    """Destroy the key of a completed generation's image, which is expired from now on. May be called twice."""
    with transaction.atomic():
        _delete_image(Generation.objects.select_for_update(no_key=True).get(pk=generation_id), now)


def _delete_image(generation: Generation, now: Timestamp) -> None:
    if generation.image_id is None:
        return
    was_live = Generation.objects.filter(pk=generation.pk, expires_at__gt=now).exists()
    Generation.objects.filter(pk=generation.pk).update(expires_at=Least("expires_at", now))
    generation.refresh_from_db(fields=["expires_at"])
    assert generation.expires_at is not None
    images.expire(image_id=generation.image_id, expires_at=generation.expires_at, now=now)
    if was_live:
        outbox.write(generation_id=generation.pk, event_type=events.IMAGE_DELETED, now=now)
