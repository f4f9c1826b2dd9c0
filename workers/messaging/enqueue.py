"""Messages that tell GPU workers of a queued generation, sent through Celery.

A message is only a hint. It may be lost or arrive twice, and the generation's row decides. Knows no transport.
"""

import logging

from celery import current_app
from django.db import DatabaseError

from workers.catalogue import DEFAULT_QUEUE, catalogue
from workers.messaging import redis_client
from workers.models import Generation

log = logging.getLogger(__name__)

GENERATE_TASK = "workers.tasks.generate"


def send(*, generation_id: int) -> None:
    """Send the generation's id to the workers that have its model.

    The function never raises for an unavailable broker or database, and it never retries: the sweep sends it later.
    """
    try:
        queue = _queue_of(generation_id)
        # A broker that hangs keeps all pooled connections in use. Celery itself would wait for one without a limit.
        with (
            redis_client.circuit_breaker().guard(),
            current_app.pool.acquire(block=True, timeout=redis_client.TIMEOUT_SECONDS) as connection,
        ):
            current_app.send_task(
                GENERATE_TASK,
                kwargs={"generation_id": generation_id},
                queue=queue,
                ignore_result=True,
                retry=False,
                connection=connection,  # type: ignore[arg-type] # Celery types its pool as one of producers.
            )
    except (redis_client.RedisUnavailable, DatabaseError) as error:
        log.debug("could not enqueue generation %s, the sweep will: %s", generation_id, error)


def _queue_of(generation_id: int) -> str:
    queues = {name: model.queue for name, model in catalogue().items()}
    if len(set(queues.values())) == 1:
        return next(iter(queues.values()))
    name = Generation.objects.filter(pk=generation_id).values_list("model", flat=True).first()
    return queues.get(name or "", DEFAULT_QUEUE)
