"""Completion of a generation while the database may fail and leave the outcome of a COMMIT unknown."""

import logging
import time
from collections.abc import Sequence
from typing import Final

from django.db import IntegrityError, InterfaceError, OperationalError, close_old_connections

from storage.models import StoredImage
from workers import metrics
from workers.engine.interface import PromptTokens
from workers.lifecycle import generations
from workers.lifecycle.made_pictures import UNMARKED, Mark
from workers.models import Generation, Status

log = logging.getLogger(__name__)

# Pauses between tries. Their sum is the time that a database takes to restart. The sweep handles a longer outage.
PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)


def complete_with_retry(
    *,
    generation: Generation,
    image: StoredImage,
    prompt_tokens: PromptTokens | None = None,
    mark: Mark = UNMARKED,
    pauses_seconds: Sequence[float] = PAUSES_SECONDS,
) -> None:
    """Complete the generation with this image and charge its quote once, even if the answer to a COMMIT was lost.

    `prompt_tokens` is what the engine told of the prompt.
    Raise LeaseLost if another worker holds the generation. Then no generation uses the image. Raise the database's
    error if the database stays unavailable. Then the outcome is unknown, and the caller must not delete the image.
    """
    for pause_seconds in pauses_seconds:
        try:
            return _complete_or_find_completed(generation, image, prompt_tokens, mark)
        except (OperationalError, InterfaceError) as error:
            log.warning("generation %s: the database failed during completion: %s", generation.pk, error)
            time.sleep(pause_seconds)
            close_old_connections()
    return _complete_or_find_completed(generation, image, prompt_tokens, mark)


def _complete_or_find_completed(
    generation: Generation, image: StoredImage, prompt_tokens: PromptTokens | None, mark: Mark
) -> None:
    try:
        generations.complete(
            generation=generation,
            image=image,
            cost_micros=generation.quote_micros,
            prompt_tokens=prompt_tokens,
            mark=mark,
        )
    except (generations.LeaseLost, IntegrityError):
        # The database may have committed an earlier try and lost its answer.
        if not _is_completed_with(generation, image):
            raise
        metrics.count_completion(generation, generation.quote_micros)


def _is_completed_with(generation: Generation, image: StoredImage) -> bool:
    row = Generation.objects.filter(pk=generation.pk, status=Status.COMPLETED)
    return row.filter(image__object_key=image.object_key).exists()
