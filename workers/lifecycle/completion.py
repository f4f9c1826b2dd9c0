"""Completes a generation although the database may fail at that very moment and leave unknown what it committed."""

import logging
import time
from collections.abc import Sequence
from typing import Final

from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections

from storage.models import StoredImage
from workers.lifecycle import generations
from workers.models import Generation, Status

log = logging.getLogger(__name__)

# Between tries: together as long as a database takes to start again. What lasts longer is left to the sweep.
PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


def complete_with_retry(
    *, generation: Generation, image: StoredImage, pauses_seconds: Sequence[float] = PAUSES_SECONDS
) -> None:
    """Completes it with this image and charges its quote, once, whatever became of a COMMIT without an answer.

    Raises LeaseLost when another holds the generation: then the image belongs to nobody. Raises the database's error
    when it stays away: then the outcome is unknown, and the image must stay where it is.
    """
    for pause_seconds in pauses_seconds:
        try:
            return _complete_or_find_completed(generation, image)
        except (OperationalError, InterfaceError) as error:
            log.warning("generation %s: the database failed while settling: %s", generation.pk, error)
            time.sleep(pause_seconds)
            close_old_connections()
    return _complete_or_find_completed(generation, image)


def _complete_or_find_completed(generation: Generation, image: StoredImage) -> None:
    try:
        generations.complete(generation=generation, image=image, cost_micros=generation.quote_micros)
    except (generations.LeaseLost, IntegrityError):
        # An earlier try may have been committed although its answer was lost.
        if not _is_completed_with(generation, image):
            raise


def _is_completed_with(generation: Generation, image: StoredImage) -> bool:
    row = Generation.objects.filter(pk=generation.pk, status=Status.COMPLETED)
    return row.filter(image__object_key=image.object_key).exists()
